"""Agreement beyond chance, as pure functions of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import combinations

Label = Hashable


def cohen_kappa(pairs: Iterable[tuple[Label, Label]]) -> float | None:
    """Cohen (1960): (p_o - p_e) / (1 - p_e) of two raters' labels of the same things; None when chance is certain."""
    counted = Counter(pairs)
    n = sum(counted.values())
    if not n:
        return None
    observed = sum(number for (one, other), number in counted.items() if one == other) / n
    first: Counter[Label] = Counter()
    second: Counter[Label] = Counter()
    for (one, other), number in counted.items():
        first[one] += number
        second[other] += number
    expected = sum(first[label] * second[label] for label in first) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def nominal(one: Label, other: Label) -> float:
    return float(one != other)


def interval(one: float, other: float) -> float:
    return float((one - other) ** 2)


def krippendorff_alpha(units: Iterable[Sequence[Label]], distance: Callable[..., float] = nominal) -> float | None:
    """Krippendorff (2011), 1 - D_o / D_e, of any number of raters with gaps; None when all labels are the same.

    Each unit is the labels that one thing got; things with one label count for nothing.
    """
    totals: Counter[Label] = Counter()
    within = 0.0
    for unit in units:
        if len(unit) < 2:
            continue
        counts = Counter(unit)
        totals.update(counts)
        apart = sum(counts[one] * counts[other] * distance(one, other) for one, other in combinations(counts, 2))
        within += 2 * apart / (len(unit) - 1)
    n = sum(totals.values())
    between = 2 * sum(totals[one] * totals[other] * distance(one, other) for one, other in combinations(totals, 2))
    return None if not between else 1 - (n - 1) * within / between
