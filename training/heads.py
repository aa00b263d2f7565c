"""How the outputs of a reward model become one score: members of an ensemble, and aspects that are weighed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.runfile import RunFileError


@dataclass(frozen=True)
class Heads:
    """M members with A aspects each are M * A outputs, member by member; one of each is a plain reward model."""

    members: int = 1
    aspects: tuple[str, ...] = ()  # empty: one score without a name
    weights: tuple[float, ...] = (1.0,)  # of each aspect in the score
    offsets: tuple[float, ...] = (0.0,)  # an aspect's value is offset + scale * output
    scales: tuple[float, ...] = (1.0,)
    apart: bool = False  # each member has an adapter of its own (training/ensembles.py), not a head alone

    @property
    def each(self) -> int:
        """Outputs of one score head: those of one member, or of all that share an adapter."""
        return len(self.weights) if self.apart else self.outputs

    @property
    def adapters(self) -> int:
        """Adapters that are asked for a score."""
        return self.members if self.apart else 1

    @property
    def outputs(self) -> int:
        return self.members * len(self.weights)

    def values(self, outputs: Tensor) -> Tensor:
        """(N, M, A) what each member thinks of each aspect."""
        split = outputs.view(-1, self.members, len(self.weights))
        return outputs.new_tensor(self.offsets) + outputs.new_tensor(self.scales) * split

    def member_scores(self, outputs: Tensor) -> Tensor:
        """(N, M): the weighted sum of the aspects, of each member."""
        return (self.values(outputs) * outputs.new_tensor(self.weights)).sum(dim=2)

    def scores(self, outputs: Tensor, caution: float = 0.0) -> Tensor:
        """(N,) mean - caution * deviation over the members.

        A lower bound, as Eisenstein et al. (2023) compare; Coste et al. (2024) take off the variance (UWO).
        """
        if self.outputs == 1 and (self.weights, self.offsets, self.scales) == ((1.0,), (0.0,), (1.0,)):
            return outputs[:, 0]
        found = self.member_scores(outputs)
        return found.mean(dim=1) - caution * found.std(dim=1, correction=0)

    def linear(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The (1, D) weight and (1,) bias of the mean score, from the (O, D) and (O,) of one head's outputs.

        Where members have adapters of their own, that is the score of one of them.
        """
        rows = weight.new_tensor(self.scales) * weight.new_tensor(self.weights)
        count = self.each // len(self.weights)
        each = rows.repeat(count) / count
        fixed = sum(w * offset for w, offset in zip(self.weights, self.offsets, strict=True))
        return (each @ weight)[None], (each @ bias + fixed)[None]

    def own_weights(self, rows: int, seed: int) -> Tensor:
        """(rows, M) by how much each member minds each row: the Bayesian bootstrap where members share an adapter.

        Exponential weights (Rubin 1981) let members that share all but their heads disagree where rows are few. A
        single one, or one with an adapter of its own, minds all rows alike.
        """
        if self.members == 1 or self.apart:
            return torch.ones(rows, self.members)
        generator = torch.Generator().manual_seed((seed * 1_000_003 + 17) % 2**63)
        return torch.empty(rows, self.members).exponential_(generator=generator)

    def card(self) -> dict[str, Any]:
        """What hone.json says of the outputs."""
        return asdict(self)

    @classmethod
    def of(cls, folder: Path) -> Heads:
        """Those of the reward model in `folder`; one plain score where its card says nothing."""
        path = folder / "hone.json"
        card = json.loads(path.read_text("utf-8")).get("heads") if path.is_file() else None
        if not isinstance(card, dict):
            return cls()
        weights, offsets, scales = (tuple(map(float, card[key])) for key in ("weights", "offsets", "scales"))
        apart = card.get("apart") is True
        return cls(int(card["members"]), tuple(card["aspects"]), weights, offsets, scales, apart)


def require_members(heads: Heads, caution: float) -> None:
    """Refuse caution where nobody could disagree."""
    if caution and heads.members < 2:
        raise RunFileError(
            "params.caution", "needs a reward model with several members (params.members of its run); set it to 0"
        )


def aspect_weights(text: str | None, aspects: Sequence[str]) -> tuple[float, ...]:
    """The weight of each aspect as `name=number, name=number` says; without a text all weigh alike and sum to one."""
    if not text or not text.strip():
        return (1 / len(aspects),) * len(aspects)
    given = _parsed(text)
    if unknown := sorted(given.keys() - set(aspects)):
        known = ", ".join(aspects)
        raise RunFileError("params.aspect_weights", f"names {unknown[0]!r}; the snapshot rates {known}")
    if not any(given.values()):
        raise RunFileError("params.aspect_weights", "are all zero; give one aspect a weight")
    return tuple(given.get(name, 0.0) for name in aspects)


def _parsed(text: str) -> Mapping[str, float]:
    found = {}
    for part in text.split(","):
        name, equals, number = (each.strip() for each in part.rpartition("="))
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name or not math.isfinite(found[name]):
            raise RunFileError("params.aspect_weights", f"must look like helpful=0.7, brief=0.3, got {part.strip()!r}")
    return found
