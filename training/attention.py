"""Attention over many texts laid one after another in one row: no padding to compute, no mask to hold.

A tree is a prompt and its answers, in that order; every answer sees the prompt and itself, and nothing sees
another tree. Linear layers and norms work on the row as it is; only attention has to know where texts begin. There
every answer gets a row of its own with the prompt in front, and rows of like length are computed together, padded on
the right where causal attention never looks.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

NAME = "hone_trees"
# What some families add to attention; a model that asks for it is read in padded rows.
UNKNOWN = ("softcap", "s_aux", "sliding_window", "position_bias")
# A text joins a wider row when that costs less than a call of its own: where rows are short, and it fills most of one.
SHORT, ALIKE = 256, 0.75


@dataclass(frozen=True)
class Tree:
    """Lengths in tokens."""

    prompt: int
    answers: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.prompt + sum(self.answers)


@dataclass(frozen=True)
class Layout:
    """Where the N tokens of a row of trees stand among the P of all texts, a text being a prompt and one answer."""

    places: Tensor  # (P,) token of each place; what pads a text is a token of its own
    first: Tensor  # (N,) place of each token
    again: tuple[Tensor, Tensor] | None  # places of prompts in front of a second answer and later, and their tokens
    bands: tuple[tuple[int, int], ...]  # texts, and places of each, of the rows that are computed together

    @property
    def sizes(self) -> list[int]:
        return [texts * width for texts, width in self.bands]


def lay_out(trees: Sequence[Tree], device: torch.device) -> Layout:
    """The texts of the trees by length, in bands that waste little on padding."""
    texts = sorted(_texts(trees), key=lambda text: -len(text[0]))
    bands: list[list[int]] = []  # texts, width
    places: list[int] = []
    first = [0] * sum(tree.length for tree in trees)
    again: tuple[list[int], list[int]] = ([], [])
    for tokens, known in texts:
        if not bands or not _joins(len(tokens), bands[-1][1]):
            bands.append([0, len(tokens)])
        bands[-1][0] += 1
        for token in tokens[:known]:
            again[0].append(len(places) + token - tokens[0])
            again[1].append(token)
        for place, token in enumerate(tokens[known:], start=len(places) + known):
            first[token] = place
        places += tokens
        places += [tokens[-1]] * (bands[-1][1] - len(tokens))
    return Layout(
        places=torch.tensor(places, device=device),
        first=torch.tensor(first, device=device),
        again=(torch.tensor(again[0], device=device), torch.tensor(again[1], device=device)) if again[0] else None,
        bands=tuple((count, width) for count, width in bands),
    )


def _texts(trees: Sequence[Tree]) -> Iterator[tuple[list[int], int]]:
    """(tokens of each prompt with one answer, how many of them an earlier answer has brought)."""
    start = 0
    for tree in trees:
        prompt, end = list(range(start, start + tree.prompt)), start + tree.prompt
        for number, answer in enumerate(tree.answers):
            yield prompt + list(range(end, end + answer)), tree.prompt if number else 0
            end += answer
        start = end


def _joins(length: int, width: int) -> bool:
    return length == width or (width <= SHORT and length >= ALIKE * width)


class Lay(torch.autograd.Function):
    """(N, ...) states of tokens as (P, ...) of places."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return states.index_select(0, layout.places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layout, grad = ctx.layout, grads[0]
        found = grad.index_select(0, layout.first)  # padding has no gradient: nothing real attends to it
        if layout.again:
            places, tokens = layout.again
            found.index_add_(0, tokens, grad.index_select(0, places))
        return found, None


class Gather(torch.autograd.Function):
    """(P, ...) results of places as (N, ...) of tokens."""

    @staticmethod
    def forward(ctx: Any, results: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return results.index_select(0, layout.first)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layout, grad = ctx.layout, grads[0]
        return grad.new_zeros(len(layout.places), *grad.shape[1:]).index_copy_(0, layout.first, grad), None


_current: Layout | None = None


@contextmanager
def over(config: Any, trees: Sequence[Tree], device: torch.device) -> Iterator[None]:
    """While it lasts, the model of `config` reads one row that consists of `trees`."""
    global _current
    usual = config._attn_implementation
    config._attn_implementation, _current = NAME, lay_out(trees, device)
    try:
        yield
    finally:
        config._attn_implementation, _current = usual, None


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **extras: Any,
) -> tuple[Tensor, None]:
    """(1, N, H, D) attention outputs of (1, H, N, D) queries; called by the layers of transformers."""
    if asked := [name for name in UNKNOWN if extras.get(name) is not None]:
        raise ValueError(f"attention with {asked[0]} cannot be computed tree by tree")
    layout = _current
    assert layout is not None
    if repeats := query.shape[1] // key.shape[1] - 1:
        key, value = (states.repeat_interleave(repeats + 1, dim=1) for states in (key, value))
    laid = [Lay.apply(states[0].transpose(0, 1), layout).split(layout.sizes) for states in (query, key, value)]
    found = []
    for band, *states in zip(layout.bands, *laid, strict=True):
        rows = [each.unflatten(0, band).transpose(1, 2) for each in states]
        out = F.scaled_dot_product_attention(
            rows[0], rows[1], rows[2], is_causal=True, scale=scaling, dropout_p=dropout
        )
        found.append(out.transpose(1, 2).flatten(0, 1))
    return Gather.apply(torch.cat(found) if len(found) > 1 else found[0], layout)[None], None


AttentionInterface.register(NAME, attend)
