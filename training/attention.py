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
    ends: tuple[tuple[int, int], ...]  # last token of each text, by length, and how many tokens the text has

    @property
    def sizes(self) -> list[int]:
        return [texts * width for texts, width in self.bands]

    def gathered(self, grad: Tensor) -> Tensor:
        """(N, ...) gradients of tokens from the (P, ...) of their places."""
        found = grad.index_select(0, self.first)  # padding has no gradient: nothing real attends to it
        if self.again:
            places, tokens = self.again
            found.index_add_(0, tokens, grad.index_select(0, places))
        return found


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
        ends=tuple((tokens[-1], len(tokens)) for tokens, _ in texts),
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
        return ctx.layout.gathered(grads[0]), None


class Gather(torch.autograd.Function):
    """(P, ...) results of places as those of the tokens that stand `at` some of them."""

    @staticmethod
    def forward(ctx: Any, results: Tensor, at: Tensor) -> Tensor:
        ctx.at, ctx.places = at, len(results)
        return results.index_select(0, at)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].new_zeros(ctx.places, *grads[0].shape[1:]).index_copy_(0, ctx.at, grads[0]), None


class Put(torch.autograd.Function):
    """(M, ...) states of some tokens as (P, ...) of places, zeros where none of them stands."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, at: Tensor, places: int) -> Tensor:
        ctx.at = at
        return states.new_zeros(places, *states.shape[1:]).index_copy_(0, at, states)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.at), None, None


@dataclass
class Reading:
    """One row of trees that a model reads."""

    layout: Layout
    wanted: Tensor | None  # tokens whose last states are asked for, each once, in order; None: all
    order: Tensor | None  # where these are the last tokens of all texts: which of them each text in `layout.ends` has
    picked: bool = False  # whether these alone came out of the last layer


_current: Reading | None = None


@contextmanager
def over(config: Any, trees: Sequence[Tree], device: torch.device, wanted: Tensor | None = None) -> Iterator[Reading]:
    """While it lasts, the model of `config` reads one row that consists of `trees`."""
    global _current
    usual = config._attn_implementation
    layout = lay_out(trees, device)
    reading = Reading(layout, wanted, _order(layout, wanted))
    config._attn_implementation, _current = NAME, reading
    try:
        yield reading
    finally:
        config._attn_implementation, _current = usual, None


def _order(layout: Layout, wanted: Tensor | None) -> Tensor | None:
    ends = [end for end, _ in layout.ends]
    if wanted is None or sorted(ends) != wanted.tolist():
        return None
    return torch.searchsorted(wanted, torch.tensor(ends, device=wanted.device))


def current() -> Reading | None:
    """The row that is being read, if one is."""
    return _current


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
    assert _current is not None
    layout = _current.layout
    laid: list[Tensor] = [Lay.apply(states[0].transpose(0, 1), layout) for states in (query, key, value)]
    found = among(laid[0], laid[1], laid[2], layout, scaling, dropout)
    return Gather.apply(found, layout.first)[None], None


def among(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None = None, dropout: float = 0.0
) -> Tensor:
    """(P, H, D) attention outputs of (P, H, D) queries; keys and values may have fewer heads."""
    if repeats := query.shape[1] // key.shape[1] - 1:
        key, value = (states.repeat_interleave(repeats + 1, dim=1) for states in (key, value))
    if len(layout.bands) == 1:
        return _of_band(query, key, value, layout.bands[0], scaling, dropout)
    split = (states.split(layout.sizes) for states in (query, key, value))
    bands = zip(*split, layout.bands, strict=True)
    return torch.cat([_of_band(q, k, v, band, scaling, dropout) for q, k, v, band in bands])


def at_ends(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, order: Tensor, scaling: float, dropout: float
) -> Tensor:
    """(T, H, D) attention outputs of the last tokens of T texts, where no other token asks."""
    if repeats := query.shape[1] // key.shape[1] - 1:
        key, value = (states.repeat_interleave(repeats + 1, dim=1) for states in (key, value))
    texts = [count for count, _ in layout.bands]
    lengths = torch.tensor([length for _, length in layout.ends], device=query.device)
    split = (query.index_select(0, order).split(texts), lengths.split(texts))
    found = []
    for asking, real, keys, values, band in zip(
        *split, key.split(layout.sizes), value.split(layout.sizes), layout.bands, strict=True
    ):
        rows = [states.unflatten(0, band).transpose(1, 2) for states in (keys, values)]
        seen = (torch.arange(band[1], device=real.device) < real[:, None])[:, None, None]
        out = F.scaled_dot_product_attention(
            asking[:, :, None], rows[0], rows[1], attn_mask=seen, scale=scaling, dropout_p=dropout
        )
        found.append(out[:, :, 0])
    return torch.cat(found).index_select(0, order.argsort())


def _of_band(
    query: Tensor, key: Tensor, value: Tensor, band: tuple[int, int], scaling: float | None, dropout: float
) -> Tensor:
    rows = [states.unflatten(0, band).transpose(1, 2) for states in (query, key, value)]
    out = F.scaled_dot_product_attention(rows[0], rows[1], rows[2], is_causal=True, scale=scaling, dropout_p=dropout)
    return out.transpose(1, 2).flatten(0, 1)


AttentionInterface.register(NAME, attend)
