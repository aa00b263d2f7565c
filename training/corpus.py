"""A corpus file, the tokenizer learnt from it, and its texts packed into windows: what pretraining reads."""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from training.data import DataError, RowAccount

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
# BOS once, a token for the role before each message, EOS after what the assistant says.
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('This model knows the roles system, user and assistant.') }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
IGNORED = -100  # cross_entropy's own mark for places that are not learnt from
TOKENIZER_TEXTS = 10_000  # the merges hardly change with more


@dataclass(frozen=True)
class Windows:
    """Texts packed into rows of equal length; positions start again at 0 with every text, which keeps them apart."""

    ids: Tensor  # (N, T)
    positions: Tensor  # (N, T)
    labels: Tensor  # (N, T): the ids, IGNORED on the first token of a text and on padding

    def texts(self) -> list[list[int]]:
        """The texts in the windows that have a token to predict, padding left out."""
        ids, positions, labels = (part.flatten().tolist() for part in (self.ids, self.positions, self.labels))
        starts = [place for place, position in enumerate(positions) if position == 0]
        spans = zip(starts, [*starts[1:], len(ids)], strict=True)
        return [ids[start:end] for start, end in spans if end - start > 1 and labels[start + 1] != IGNORED]


def read_corpus(path: Path) -> list[dict[str, Any]]:
    """The records of a corpus file: one JSON object a line, with `messages` or `text`."""
    records: list[dict[str, Any]] = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The corpus {path.name} cannot be read: {error}", "Put the file into the run directory."
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not (_is_text(record) or _is_conversation(record)):
            wanted = 'an object with "messages" or "text"'
            raise DataError(f"Line {number} of {path.name} is not {wanted}.", "Correct or remove the line.")
        records.append(record)
    if len(records) < 2:
        raise DataError(f"The corpus {path.name} has fewer than two texts.", "Give it at least a few hundred.")
    return records


def _is_text(record: dict[str, Any]) -> bool:
    return isinstance(record.get("text"), str) and bool(record["text"])


def _is_conversation(record: dict[str, Any]) -> bool:
    messages = record.get("messages")
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(
            isinstance(each, dict) and isinstance(each.get("content"), str) and f"<|{each.get('role')}|>" in ROLES
            for each in messages
        )
    )


def train_tokenizer(records: Sequence[dict[str, Any]], vocab_size: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with this module's chat template; padding, BOS and EOS are three different tokens."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    texts = (text for record in records[:TOKENIZER_TEXTS] for text in _contents(record))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=list(ROLES),
        chat_template=TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def _contents(record: dict[str, Any]) -> list[str]:
    return [record["text"]] if _is_text(record) else [message["content"] for message in record["messages"]]


def encode(
    records: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, context: int, account: RowAccount
) -> list[list[int]]:
    """Token ids of the records that fit into `context`; what cannot be used is counted in `account`."""
    control = (PAD, BOS, EOS, *ROLES)
    texts = []
    for record in records:
        if any(token in text for text in _contents(record) for token in control):
            account.drop("control_token_in_text")
        elif _is_text(record):
            texts.append(BOS + record["text"] + EOS)
        else:
            texts.append(str(tokenizer.apply_chat_template(record["messages"], tokenize=False)))
    found = []
    for ids in tokenizer(texts, add_special_tokens=False).input_ids if texts else []:
        if len(ids) > context:
            account.drop("too_long")
        else:
            account.use()
            found.append(ids)
    return found


def pack(texts: Sequence[list[int]], context: int, pad_id: int) -> Windows:
    """Whole texts in as few windows as the longest-first rule finds; no text is cut."""
    left = sorted(texts, key=len)
    sizes = [len(text) for text in left]
    ids, positions, labels = [], [], []
    while left:
        row: list[int] = []
        places: list[int] = []
        targets: list[int] = []
        while (index := bisect.bisect_right(sizes, context - len(row)) - 1) >= 0:
            text = left.pop(index)
            sizes.pop(index)
            row += text
            places += range(len(text))
            targets += [IGNORED, *text[1:]]
        room = context - len(row)
        ids.append(row + [pad_id] * room)
        positions.append([*places, *range(room)])
        labels.append(targets + [IGNORED] * room)
    shape = (len(ids), context)
    return Windows(*(torch.tensor(rows, dtype=torch.long).reshape(shape) for rows in (ids, positions, labels)))
