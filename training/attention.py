"""Attention over many texts laid one after another in one row: no padding to compute, no mask to hold.

A tree is a prompt and its answers, in that order; every answer sees the prompt and itself, and nothing sees
another tree. Linear layers and norms work on the row as it is; only attention has to know where texts begin.
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


@dataclass(frozen=True)
class Tree:
    """Lengths in tokens."""

    prompt: int
    answers: tuple[int, ...]

    @property
    def length(self) -> int:
        return self.prompt + sum(self.answers)

    @property
    def pieces(self) -> list[int]:
        """How the tree's stretch of the row is cut for attention."""
        first, *others = self.answers
        return [self.prompt, first, *others] if others else [self.prompt + first]


_current: Sequence[Tree] = ()


@contextmanager
def over(config: Any, trees: Sequence[Tree]) -> Iterator[None]:
    """While it lasts, the model of `config` reads one row that consists of `trees`."""
    global _current
    usual = config._attn_implementation
    config._attn_implementation, _current = NAME, trees
    try:
        yield
    finally:
        config._attn_implementation, _current = usual, ()


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
    settings = {"is_causal": True, "scale": scaling, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    sizes = [size for tree in _current for size in tree.pieces]
    pieces = iter(zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True))
    found = []
    for tree in _current:
        trunk = next(pieces)
        if len(tree.answers) == 1:
            found.append(F.scaled_dot_product_attention(*trunk, **settings))
            continue
        for place in range(len(tree.answers)):
            # The trunk is attended to again with every answer: cheaper than a mask, and attention is a small part.
            text = [torch.cat(pair, dim=2) for pair in zip(trunk, next(pieces), strict=True)]
            out = F.scaled_dot_product_attention(*text, **settings)
            found.append(out if place == 0 else out[:, :, tree.prompt :])
    return torch.cat([out.transpose(1, 2) for out in found], dim=1), None


AttentionInterface.register(NAME, attend)
