"""Which pairs of answers several judgements are about: what is computed of two answers is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.forward import Pair


@dataclass(frozen=True)
class Shown:
    """The different pairs of answers among N judged ones, whichever of the two was preferred."""

    rows: list[Pair]  # D of them
    places: list[int]  # (N,) the row of each judged pair
    turned: list[bool]  # (N,) whether it was judged the other way round

    @classmethod
    def among(cls, pairs: Sequence[Pair]) -> Shown:
        """Those among some pairs, in the order in which they first come."""
        places: dict[tuple[tuple[int, ...], ...], int] = {}
        rows: list[Pair] = []
        of, turned = [], []
        for prompt, chosen, rejected in pairs:
            turn = chosen > rejected
            row = (prompt, rejected, chosen) if turn else (prompt, chosen, rejected)
            place = places.setdefault(tuple(map(tuple, row)), len(rows))
            if place == len(rows):
                rows.append(row)
            of.append(place)
            turned.append(turn)
        return cls(rows, of, turned)

    @property
    def lengths(self) -> list[int]:
        return [sum(map(len, row)) for row in self.rows]

    def judged(self, found: Tensor) -> Tensor:
        """(2, N) for the chosen and the rejected answers from (2, D) of the rows."""
        each = found[:, self.places]
        return torch.where(torch.tensor(self.turned, dtype=torch.bool, device=found.device), each.flip(0), each)
