"""Rows of a snapshot, turned into token ids; every row that is read is accounted for."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
import pyarrow
import pyarrow.parquet as parquet
import torch
from torch import Tensor

from training.rundir import RunDir, RunError
from training.runfile import RunFile

Messages = list[dict[str, str]]
REMEMBERED = 4096  # prompts, and answers, that rows are compared with: what was said of one pair stands together
SPEAKERS = {"prompt": "user", "chosen": "assistant", "rejected": "assistant", "completion": "assistant"}
BUCKET_BATCHES = 16  # rows are sorted by length within this many batches: little padding, and still a random order


class DataError(RunError):
    """Rows that cannot be trained on, or too many of them."""

    code = "data"


class RowAccount:
    """What became of the rows of one split."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.read = self.used = self.truncated = 0
        self.dropped: Counter[str] = Counter()
        self.first: dict[str, int] = {}  # the first row, counted from 1, that was dropped for each reason

    def use(self, *, truncated: bool = False) -> None:
        self.read += 1
        self.used += 1
        self.truncated += truncated

    def drop(self, reason: str) -> None:
        self.read += 1
        self.dropped[reason] += 1
        self.first.setdefault(reason, self.read)

    def require(
        self, max_dropped_share: float, *, raisable: bool = True, remedy: str = "Raise params.max_length"
    ) -> None:
        """Raise DataError when nothing is left, or when more than this share had to be left out.

        `raisable`: the `remedy` for rows that are too long would help, because the model can read longer ones.
        """
        lost = sum(self.dropped.values())
        reasons = ", ".join(
            f"{count} {reason} from row {self.first[reason]} on" for reason, count in self.dropped.most_common()
        )
        longer = bool(self.dropped["too_long"]) and raisable
        if not self.used:
            hint = f"{remedy}, or check the rows." if longer else "Correct those rows."
            hint = hint if lost else "Choose a snapshot that has rows."
            raise DataError(
                f"The {self.split} split has no usable row: {self.read} read, {reasons or 'none'} dropped.", hint
            )
        if lost > max_dropped_share * self.read:
            message = f"{lost} of {self.read} {self.split} rows cannot be used ({reasons})"
            first = remedy if longer else "Correct those rows"
            hint = f"{first}, or accept the loss with params.max_dropped_share = {_round_up(lost / self.read)}."
            raise DataError(f"{message}; at most {max_dropped_share:.1%} may be left out.", hint)

    def as_dict(self) -> dict[str, Any]:
        return {"read": self.read, "used": self.used, "truncated": self.truncated, "dropped": dict(self.dropped)}


def rows(config: RunFile, split: str) -> list[dict[str, Any]]:
    """The rows of one split of the run's snapshot, as plain dictionaries; none when the snapshot has no such split.

    A prompt or an answer that is plain text becomes a message.
    """
    assert config.snapshot is not None
    path = config.snapshot.path / f"{split}.parquet"
    if not path.is_file():
        if split == "train":
            raise DataError(f"The snapshot has no {path.name}.", "Cut the snapshot again.")
        return []
    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name} of the snapshot cannot be read: {reason}", "Cut the snapshot again.") from error
    for row in found:
        for name in SPEAKERS.keys() & row.keys():
            if isinstance(row[name], str):
                row[name] = [{"role": SPEAKERS[name], "content": row[name]}]
    return found


def require_columns(found: Sequence[dict[str, Any]], *names: str) -> None:
    """Raise DataError when the snapshot is of another kind than the run needs."""
    missing = [name for name in names if found and name not in found[0]]
    if missing:
        hint = f"This run reads rows with {', '.join(names)}; choose a snapshot of that kind."
        raise DataError(f"The snapshot has no column {', '.join(missing)}.", hint)


def encode_prompt(tokenizer: Any, messages: Messages) -> list[int]:
    """Token ids of a conversation up to where the assistant starts to speak; BOS once where the tokenizer uses it."""
    return _tokens(tokenizer, _prompt_text(tokenizer, messages), bos=True)


class Encoder:
    """Token ids of rows; what rows near each other have in common, such as judgements of one pair, is read once."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._prompt = functools.lru_cache(REMEMBERED)(self._read_prompt)
        self._pair = functools.lru_cache(REMEMBERED)(self._read_pair)

    def pair(self, prompt: Messages, completion: Messages) -> tuple[list[int], list[int]]:
        """Token ids of the prompt and of the answer, not to be changed; the answer ends in exactly one EOS.

        The prompt's ids are those that generation starts from. Where the tokenizer would merge across the border, the
        answer is tokenized on its own, so that training sees what sampling produces.
        """
        return self._pair(json.dumps(prompt), json.dumps(completion))

    def _read_prompt(self, prompt: str) -> tuple[str, list[int]]:
        text = _prompt_text(self.tokenizer, json.loads(prompt))
        return text, _tokens(self.tokenizer, text, bos=True)

    def _read_pair(self, prompt: str, completion: str) -> tuple[list[int], list[int]]:
        text, prompt_ids = self._prompt(prompt)
        whole = _rendered(self.tokenizer, json.loads(prompt) + json.loads(completion))
        if not whole.startswith(text):
            raise DataError(
                "The chat template writes a prompt differently once an answer follows it,"
                " so the two cannot be separated.",
                "Give the run a template of its own (template in run.json).",
            )
        whole_ids = _tokens(self.tokenizer, whole, bos=True)
        if whole_ids[: len(prompt_ids)] == prompt_ids:
            answer_ids = whole_ids[len(prompt_ids) :]
        else:
            answer_ids = _tokens_inside(self.tokenizer, whole[len(text) :])
        return prompt_ids, _end_once(self.tokenizer, answer_ids)


def cut_prompt(tokenizer: Any, prompt: list[int], room: int) -> list[int] | None:
    """The end of a prompt in at most `room` tokens, BOS kept; None when less than a quarter of it would be left."""
    if len(prompt) <= room:
        return prompt
    first = prompt[:1] if prompt[0] == tokenizer.bos_token_id else []
    kept = room - len(first)
    return [*first, *prompt[-kept:]] if kept > 0 and room * 4 >= len(prompt) else None


def unusable(tokenizer: Any, prompt: Messages, *completions: Messages) -> str | None:
    """Why a row cannot be learnt from, or None: no answer, no question, or a control token typed into a text."""
    if not all(_are_messages(each) for each in (prompt, *completions)):
        return "neither_text_nor_messages"
    if not prompt or prompt[-1]["role"] == "assistant":
        return "prompt_does_not_end_with_a_question"
    if any(not any(message["content"] for message in answer) for answer in completions):
        return "empty_completion"
    if any(len(answer) > 1 or answer[0]["role"] != "assistant" for answer in completions):
        return "completion_is_not_one_answer"  # all behind the first end token would be lost
    texts = [message["content"] for messages in (prompt, *completions) for message in messages]
    if any(token in text for token in tokenizer.all_special_tokens for text in texts):
        return "control_token_in_text"
    return None


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        for each in value
    )


def render(tokenizer: Any, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> str:
    """Exactly what the model reads in one row, control tokens included; for the report."""
    return tokenizer.decode([*prompt_ids, *answer_ids], skip_special_tokens=False)


def introduce(run: RunDir, config: RunFile, tokenizer: Any, prompt_ids: list[int], answer_ids: Sequence[int]) -> None:
    """Say in the log, before anything is learnt, which tokens frame a row and what one looks like to the model."""
    named = (("beginning", "bos_token"), ("end", "eos_token"), ("padding", "pad_token"))
    known = [(what, getattr(tokenizer, each), getattr(tokenizer, f"{each}_id")) for what, each in named]
    tokens = ", ".join(f"{what} {token} ({number})" if token else f"no {what}" for what, token, number in known)
    run.say("info", f"Template {config.template or 'of the tokenizer'}; special tokens: {tokens}.")
    row = render(tokenizer, prompt_ids, answer_ids).replace("\n", "\\n")
    run.say("info", f"The first {'row' if answer_ids else 'prompt'} as the model reads it: {row}")


def pad(sequences: Sequence[Sequence[int]], value: int, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """(B, T) ids filled with `value`, and the (B, T) mask of real tokens."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), value, dtype=torch.long)
    mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        where = slice(longest - len(sequence), longest) if left else slice(0, len(sequence))
        ids[row, where] = torch.tensor(sequence, dtype=torch.long)
        mask[row, where] = 1
    return ids, mask


def batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The rows of one epoch in batches of like length; a pure function of its arguments, so a resume needs no state."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    span = batch_size * BUCKET_BATCHES
    found: list[list[int]] = []
    for start in range(0, len(order), span):
        bucket = sorted(order[start : start + span], key=lambda row: lengths[row])
        found += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
    return [found[place] for place in torch.randperm(len(found), generator=generator).tolist()]


def steps_of(lengths: Sequence[int], params: Any) -> tuple[int, int]:
    """(all steps of a run, steps of one epoch)."""
    per_epoch = math.ceil(len(lengths) / params.batch_size)
    total = max(1, math.ceil(per_epoch * params.epochs))
    return (min(total, params.max_steps) if params.max_steps else total), per_epoch


def batches_from(lengths: Sequence[int], params: Any, *, seed: int, first_step: int) -> Iterator[tuple[int, list[int]]]:
    """(step, rows of its batch) from `first_step` on, counted from 1, to the end of the run."""
    total, per_epoch = steps_of(lengths, params)
    epoch, plan = -1, []
    for step in range(first_step, total + 1):
        if epoch != (step - 1) // per_epoch:
            epoch = (step - 1) // per_epoch
            plan = batches(lengths, params.batch_size, seed=seed, epoch=epoch)
        yield step, plan[(step - 1) % per_epoch]


def parts(rows: Sequence[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    """The rows of one batch, in their order, in parts of at most `most` tokens (a longer row stands alone).

    What is kept for the backward pass is bounded by it, and the gradients of the parts add up to the batch's.
    """
    found: list[list[int]] = []
    room = 0
    for row in rows:
        if not found or lengths[row] > room:
            found.append([])
            room = most
        found[-1].append(row)
        room -= lengths[row]
    return found


def in_order(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Batches for evaluation, longest rows first so that running out of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _prompt_text(tokenizer: Any, messages: Messages) -> str:
    return _rendered(tokenizer, messages, add_generation_prompt=True)


def _rendered(tokenizer: Any, messages: Messages, **options: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except jinja2.TemplateError as error:  # as Gemma's refuses a system message
        shown = messages[0]["content"][:40]
        raise DataError(
            f"The chat template refuses the conversation that begins with {shown!r}: {error}.",
            "Leave such rows out, or give the run a template of its own (template in run.json).",
        ) from error


def _tokens(tokenizer: Any, text: str, *, bos: bool) -> list[int]:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if bos and tokenizer.hone_adds_bos and ids[:1] != [tokenizer.bos_token_id]:
        return [tokenizer.bos_token_id, *ids]
    return ids


def _tokens_inside(tokenizer: Any, text: str) -> list[int]:
    """Ids of `text` as it stands inside a text: behind something, so that no word-start mark is added in front."""
    for before in ("\n", ".", "0", "a"):
        ids, whole = _tokens(tokenizer, before, bos=False), _tokens(tokenizer, before + text, bos=False)
        if whole[: len(ids)] == ids:
            return whole[len(ids) :]
    return _tokens(tokenizer, text, bos=False)


def _end_once(tokenizer: Any, ids: list[int]) -> list[int]:
    """`ids` up to its first EOS, or with one added: templates write it, write more after it, or leave it out."""
    end = tokenizer.eos_token_id
    return [*ids[: ids.index(end)], end] if end in ids else [*ids, end]


def _round_up(share: float) -> float:
    return min(1.0, math.ceil(share * 1000) / 1000)
