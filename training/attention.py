"""Attention over many texts laid one after another in one row: no padding to compute, no mask to hold.

A tree is a prompt and its answers, in that order; every answer sees the prompt and itself, and nothing sees
another tree. Linear layers and norms work on the row as it is; only attention has to know where texts begin.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
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
    settings: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    groups = [list(group) for _, group in groupby(_current)]  # trees of one shape, side by side
    sizes = [len(group) * group[0].length for group in groups]
    parts = zip(query[0].split(sizes, 1), key[0].split(sizes, 1), value[0].split(sizes, 1), groups, strict=True)
    found = [_attend_alike(q, k, v, group[0], len(group), settings) for q, k, v, group in parts]
    return torch.cat(found, dim=1).transpose(0, 1)[None], None


def _attend_alike(query: Tensor, key: Tensor, value: Tensor, tree: Tree, count: int, settings: Any) -> Tensor:
    """(H, count * L, D) outputs of as many queries, from `count` trees of one shape."""
    if repeats := query.shape[0] // key.shape[0] - 1:
        key, value = (states.repeat_interleave(repeats + 1, dim=0) for states in (key, value))
    texts = [states.unflatten(1, (count, tree.length)) for states in (query, key, value)]
    if len(tree.answers) == 1:
        return _causal(texts, settings).flatten(1, 2)
    trunk, *branches = zip(*(states.split([tree.prompt, *tree.answers], dim=2) for states in texts), strict=True)
    found = []
    for place, branch in enumerate(branches):
        # The trunk is attended to again with every answer: cheaper than a mask, and attention is a small part.
        out = _causal([torch.cat(pair, dim=2) for pair in zip(trunk, branch, strict=True)], settings)
        found.append(out if place == 0 else out[:, :, tree.prompt :])
    return torch.cat(found, dim=2).flatten(1, 2)


def _causal(texts: Sequence[Tensor], settings: Any) -> Tensor:
    """(H, count, L, D): heads stand where a batch usually does, so that no text has to be copied."""
    query, key, value = texts
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, **settings)


AttentionInterface.register(NAME, attend)
