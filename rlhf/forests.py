"""Small pictures beside words: an interval in a table row, and the lines between the boxes of a lineage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext

from rlhf.scales import Scale, Words, percent


@dataclass(frozen=True)
class Forest:
    """One row's interval on the scale that all rows of a table share."""

    dot: str
    low: str
    high: str
    reference: str
    label: str
    color: str = "c1"


def forests(
    intervals: Sequence[dict[str, float] | None], *, reference: float = 0.5, words: Words | None = None
) -> list[Forest | None]:
    """For each `{"value", "low", "high"}` its row picture, all on one scale that also holds `reference`.

    An interval that holds the reference is drawn gray: it does not tell the two apart.
    """
    known = [one for one in intervals if one]
    ends = [reference, *[one[end] for one in known for end in ("low", "high", "value") if end in one]]
    pad = (max(ends) - min(ends)) * 0.08 or 0.05
    scale = Scale(min(ends) - pad, max(ends) + pad, ())
    words = words or (lambda value: f"{value * 100:.1f}")
    return [_forest(one, scale, reference, words) if one else None for one in intervals]


def _forest(one: dict[str, float], scale: Scale, reference: float, words: Words) -> Forest:
    low, high = one.get("low", one["value"]), one.get("high", one["value"])
    return Forest(
        dot=percent(scale.share(one["value"])),
        low=percent(scale.share(low)),
        high=percent(scale.share(high)),
        reference=percent(scale.share(reference)),
        label=gettext("%(value)s percent, %(low)s to %(high)s")
        % {"value": words(one["value"]), "low": words(low), "high": words(high)},
        color="c5" if low <= reference <= high else "c1",
    )


def connectors(pairs: Iterable[tuple[int, int]], left: int, right: int) -> list[str]:
    """Curves from node to node between two columns of `left` and `right` nodes, in a box of 100 by 100."""
    return [
        f"M0 {(i + 0.5) / left * 100:.1f}C55 {(i + 0.5) / left * 100:.1f} 45 {(j + 0.5) / right * 100:.1f}"
        f" 100 {(j + 0.5) / right * 100:.1f}"
        for i, j in pairs
    ]
