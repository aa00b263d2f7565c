"""Log-probabilities of answers: the prompt of a pair computed once, no padding, only answer positions in the LM head.

A batch is one row of trees, `prompt | chosen | rejected` each: both answers see the prompt, neither sees the other,
and the positions of the rejected one start again where the prompt ended (training/attention.py). A model whose
attention cannot be led that way reads a padded row for every answer instead; both give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training import attention, layers
from training.attention import Tree
from training.head import block_of, check_head, head_logits, logps_of, target_logps

__all__ = [
    "Answered", "Batch", "Pair", "answer_logps", "block_of", "check_head", "given_logps", "head_logits",
    "hidden_states", "pack_answers", "pack_apart", "pack_pairs", "pack_trees", "reads_trees", "token_logps",
    "tokens_at_once",
]  # fmt: skip

Pair = tuple[list[int], list[int], list[int]]  # prompt, chosen, rejected
Answered = tuple[list[int], list[int]]  # prompt, answer
# How much may be kept for a backward pass: on a processor little, for what stays in its caches is fast.
KEPT_BYTES = {"cpu": 2**27, "cuda": 2**33}
# Numbers that a Llama keeps per token, layer and unit of its width, its feed-forward included; and if it is frugal.
KEPT_NUMBERS, KEPT_AT_LEAST = 24, 14
PROBE = [([3, 5, 4], [[7, 6], [5, 3, 6]]), ([4, 6], [[3, 7, 5]])]  # any tokens do


@dataclass(frozen=True)
class Batch:
    """A answers in one row of N tokens, M answer tokens in all."""

    trees: tuple[Tree, ...]
    ids: Tensor  # (N,)
    positions: Tensor  # (N,) places in the text that a token belongs to
    sources: Tensor  # (M,) index into the N hidden states of the one that predicts each answer token
    targets: Tensor  # (M,) the answer tokens
    rows: Tensor  # (M,) which answer a token belongs to
    columns: Tensor  # (M,) its place in that answer
    lengths: Tensor  # (A,) tokens of each answer
    ends: Tensor  # (A,) index into the N hidden states of the last token of each answer
    pad_id: int

    def per_answer(self, values: Tensor) -> Tensor:
        """(M,) values of tokens as (A, T), answers padded with zeros."""
        grid = values.new_zeros(len(self.lengths), int(self.lengths.max()))
        return grid.index_put((self.rows, self.columns), values)

    def padded(self) -> tuple[Tensor, Tensor]:
        """A plain row per answer: (A, L) ids, padded on the right, and (N,) where each token of the row went."""
        rows: list[Tensor] = []
        places: list[int] = []
        start = 0
        width = max(tree.prompt + length for tree in self.trees for length in tree.answers)
        for tree in self.trees:
            prompt, answers = torch.arange(start, start + tree.length).tensor_split([tree.prompt])
            for number, answer in enumerate(answers.split(tree.answers)):
                first = len(rows) * width
                places += range(first + (tree.prompt if number else 0), first + tree.prompt + len(answer))
                rows.append(torch.cat([prompt, answer]).to(self.ids.device))
            start += tree.length
        ids = torch.full((len(rows), width), self.pad_id, device=self.ids.device)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = self.ids[row]
        return ids, torch.tensor(places, device=self.ids.device)


def pack_trees(
    rows: Sequence[tuple[list[int], Sequence[list[int]]]], pad_id: int, device: torch.device, *, across: bool = False
) -> Batch:
    """Prompts with any number of answers; these are counted prompt by prompt, or (`across`) first answers first."""
    ids: list[int] = []
    positions: list[int] = []
    spans: list[tuple[int, int, int, list[int]]] = []  # place in the order, source of the first token, start, answer
    for number, (prompt, answers) in enumerate(rows):
        ids += prompt
        positions += range(len(prompt))
        before = len(ids) - 1  # every answer is predicted from the end of the prompt
        for place, answer in enumerate(answers):
            order = place * len(rows) + number if across else len(spans)
            spans.append((order, before, len(ids), answer))
            ids += answer
            positions += range(len(prompt), len(prompt) + len(answer))
    spans.sort(key=lambda span: span[0])
    sources = [i for _, before, start, answer in spans for i in (before, *range(start, start + len(answer) - 1))]
    lengths = torch.tensor([len(answer) for *_, answer in spans])
    return Batch(
        trees=tuple(Tree(len(prompt), tuple(map(len, answers))) for prompt, answers in rows),
        ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        sources=torch.tensor(sources, device=device),
        targets=torch.tensor([token for *_, answer in spans for token in answer], device=device),
        rows=torch.arange(len(spans)).repeat_interleave(lengths).to(device),
        columns=torch.tensor([i for *_, answer in spans for i in range(len(answer))], device=device),
        lengths=lengths.to(device),
        ends=torch.tensor([start + len(answer) - 1 for _, _, start, answer in spans], device=device),
        pad_id=pad_id,
    )


def pack_pairs(pairs: Sequence[Pair], pad_id: int, device: torch.device) -> Batch:
    """A tree per pair; the A = 2B answers are the B chosen ones, then the B rejected ones."""
    return pack_trees([(prompt, answers) for prompt, *answers in pairs], pad_id, device, across=True)


def pack_answers(answered: Sequence[Answered], pad_id: int, device: torch.device) -> Batch:
    """A text per answer."""
    return pack_trees([(prompt, [answer]) for prompt, answer in answered], pad_id, device)


def pack_apart(pairs: Sequence[Pair], pad_id: int, device: torch.device) -> Batch:
    """Two texts per pair, in the order of `pack_pairs`: the prompt computed twice, as everybody else does."""
    return pack_answers([(p, c) for p, c, _ in pairs] + [(p, r) for p, _, r in pairs], pad_id, device)


def hidden_states(model: Any, batch: Batch, wanted: Tensor | None = None) -> Tensor:
    """(N, D) last hidden states of the decoder, before the head; those of (M,) `wanted` tokens where they are given."""
    if reads_trees(model):
        return _in_one_row(model, batch, wanted)
    found = _in_padded_rows(model, batch)
    return found if wanted is None else found[wanted]


def _in_one_row(model: Any, batch: Batch, wanted: Tensor | None = None) -> Tensor:
    decoder = model.base_model
    once: Any = None
    again: Any = None
    if wanted is not None:
        once, again = wanted.unique(return_inverse=True)
    with attention.over(decoder.config.get_text_config(), batch.trees, batch.ids.device, once) as reading:
        ids, places = batch.ids[None], batch.positions[None]
        found = decoder(input_ids=ids, position_ids=places, use_cache=False).last_hidden_state[0]
    if wanted is None:
        return found
    return found.index_select(0, again if reading.picked else wanted)


def _in_padded_rows(model: Any, batch: Batch) -> Tensor:
    ids, places = batch.padded()  # causal attention never looks at padding on the right
    return model.base_model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)[places]


def tokens_at_once(model: Any) -> int:
    """How many tokens may be computed before their backward pass."""
    shape = model.config.get_text_config()
    numbers = KEPT_AT_LEAST if reads_trees(model) and layers.frugal(model) else KEPT_NUMBERS
    kept = numbers * shape.num_hidden_layers * shape.hidden_size * model.dtype.itemsize
    return max(256, KEPT_BYTES.get(model.device.type, 2**33) // kept)


def reads_trees(model: Any) -> bool:
    """Whether the model gives a row of trees the states of plain rows; tried once."""
    known = getattr(model, "hone_reads_trees", None)
    if known is None:
        known = model.hone_reads_trees = _same_either_way(model)
    return known


@torch.no_grad()
def _same_either_way(model: Any) -> bool:
    if getattr(model.config.get_text_config(), "sliding_window", None):
        return False  # right on a short text and wrong on one longer than the window
    layers.fuse(model)
    was_training = model.training
    model.eval()
    batch = pack_trees(PROBE, 0, model.device)
    try:
        ours = _in_one_row(model, batch, batch.sources).float()
        plain = _in_padded_rows(model, batch)[batch.sources].float()
    except (TypeError, ValueError, RuntimeError):
        return False
    finally:
        model.train(was_training)
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.05
    return torch.allclose(ours, plain, rtol=tolerance, atol=tolerance * plain.abs().max().item())


def token_logps(
    model: Any, batch: Batch, *, temperature: float = 1.0, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probability of every answer token and entropy at it, both (M,), under softmax(logits / temperature).

    No (M, V) matrix of a large vocabulary is ever held; the entropy has no gradient.
    """
    hidden = hidden_states(model, batch, batch.sources)
    return logps_of(model, hidden, batch.targets, temperature=temperature, block=block)


@torch.no_grad()
def given_logps(model: Any, batch: Batch, *, temperature: float = 1.0) -> Tensor:
    """(M,) the log-probabilities alone, without gradient: half the work in the head."""
    hidden = hidden_states(model, batch, batch.sources)
    return target_logps(model, hidden, batch.targets, temperature=temperature)


def answer_logps(model: Any, batch: Batch) -> Tensor:
    """(A,) log-probability of each whole answer."""
    logps = token_logps(model, batch)[0] if torch.is_grad_enabled() else given_logps(model, batch)
    return logps.new_zeros(len(batch.lengths)).index_add(0, batch.rows, logps)
