"""Agreement beyond chance from sums over things judged, so that one formula serves an estimate and its replicates.

A thing (a task, an aspect of it, a pair of a ranking) with the votes n_1 … n_K in K categories, r in all, adds to the
sums the K by K matrix P of its ordered pairs of votes, P_kl = n_k (n_l - [k = l]). Missing cells need no imputation:
a thing adds what it has, one vote alone adds no pair. All arrays may have leading axes for replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NAMES = ("percent", "cohen", "fleiss", "alpha_nominal", "alpha_ordinal", "alpha_interval", "ac1", "ac2")


@dataclass(frozen=True)
class Sums:
    pairs: Array  # (…, K, K) of P
    coincidences: Array  # (…, K, K) of P / (r - 1), Krippendorff's
    shares: Array  # (…, K, K) of P / (r (r - 1)), where each thing weighs 1
    paired: Array  # (…) things with two votes or more
    marginals: Array  # (…, K) of n / r
    judged: Array  # (…) things with a vote


def rows_of(counts: Array) -> Array:
    """What each thing adds, flat, (U, 3 K² + K + 2), of its votes by category, (U, K)."""
    counts = counts.astype(np.float64)
    things, k = counts.shape
    r = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, range(k), range(k)] -= counts
    pairs = pairs.reshape(things, k * k)
    several, some = r > 1, r > 0
    fewer = np.where(several, r - 1, 1.0)[:, None]
    ordered = np.where(several, r * (r - 1), 1.0)[:, None]
    share = counts / np.where(some, r, 1.0)[:, None]
    return np.hstack([pairs, pairs / fewer, pairs / ordered, share, several[:, None], some[:, None]])


def unpacked(totals: Array, k: int) -> Sums:
    """Totals of such rows, (…, 3 K² + K + 2), by name."""
    front, square = totals.shape[:-1], k * k
    pairs, coincidences, shares = (totals[..., i * square : (i + 1) * square].reshape(*front, k, k) for i in range(3))
    return Sums(pairs, coincidences, shares, totals[..., -2], totals[..., 3 * square : -2], totals[..., -1])


def of_counts(counts: Array) -> Sums:
    """The sums of things given as (U, K) votes by category."""
    return unpacked(rows_of(counts).sum(axis=0), counts.shape[1])


def of_tables(tables: Array) -> Sums:
    """The sums of things that two people judged both, given as their (…, K, K) tables."""
    both = tables + np.swapaxes(tables, -1, -2)
    things = tables.sum(axis=(-1, -2))
    return Sums(both, both, both / 2, things, both.sum(axis=-1) / 2, things)


def all_of(sums: Sums, values: Array) -> dict[str, Array]:
    """Every measure but Cohen's, NaN where it does not exist; `values` (K,) are the categories' places on their scale.

    Which of them mean something is the question's scale: nominal labels have no ordinal or interval distance.
    """
    return {
        "percent": percent(sums),
        "fleiss": fleiss(sums),
        "alpha_nominal": alpha(sums, nominal(values)),
        "alpha_ordinal": alpha(sums, ordinal(sums)),
        "alpha_interval": alpha(sums, interval(values)),
        "ac1": gwet(sums, np.eye(len(values))),
        "ac2": gwet(sums, quadratic(values)),
    }


def percent(sums: Sums) -> Array:
    """The share of pairs of votes on the same thing that are equal."""
    return _over(_trace(sums.pairs), sums.pairs.sum(axis=(-1, -2)))


def cohen(tables: Array) -> Array:
    """Cohen (1960), (p_o - p_e) / (1 - p_e), of two people's (…, K, K) tables."""
    n = tables.sum(axis=(-1, -2))
    observed = _over(_trace(tables), n)
    expected = _over((tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1), n * n)
    return _beyond(observed, expected)


def fleiss(sums: Sums) -> Array:
    """Fleiss (1971), equations 3 to 7; with unequal numbers of votes as in Gwet (2014), section 2.4.

    Observed agreement is a mean over things with two votes or more, the categories' shares one over all things judged.
    """
    observed = _over(_trace(sums.shares), sums.paired)
    share = _over(sums.marginals, sums.judged[..., None])
    return _beyond(observed, (share**2).sum(axis=-1))


def gwet(sums: Sums, weights: Array) -> Array:
    """Gwet's AC1 (2008, equations 4 to 6) with weights 1 and 0, AC2 with others (2014, section 3.5).

    Chance agreement is T_w / (K (K - 1)) Σ π_k (1 - π_k), which stays small when nearly all votes are alike: where
    kappa and alpha fall to zero although people hardly ever differ, these do not (the paradox of high agreement).
    """
    k = len(weights)
    observed = _over((sums.shares * weights).sum(axis=(-1, -2)), sums.paired)
    share = _over(sums.marginals, sums.judged[..., None])
    expected = weights.sum() / (k * (k - 1)) * (share * (1 - share)).sum(axis=-1)
    return _beyond(observed, expected)


def alpha(sums: Sums, distance: Array) -> Array:
    """Krippendorff (2011), 1 - D_o / D_e, from coincidences and a (…, K, K) squared distance between categories."""
    totals = sums.coincidences.sum(axis=-1)
    n = totals.sum(axis=-1)
    within = (sums.coincidences * distance).sum(axis=(-1, -2))
    between = (totals[..., :, None] * totals[..., None, :] * distance).sum(axis=(-1, -2))
    return 1 - _over((n - 1) * within, between)


def nominal(values: Array) -> Array:
    return 1.0 - np.eye(len(values))


def interval(values: Array) -> Array:
    return np.asarray((values[:, None] - values[None, :]) ** 2, dtype=np.float64)


def ordinal(sums: Sums) -> Array:
    """Krippendorff (2011), section 6: how many votes lie between two categories, half of their own included."""
    totals = sums.coincidences.sum(axis=-1)
    middle = np.cumsum(totals, axis=-1) - totals / 2
    return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)


def quadratic(values: Array) -> Array:
    """Gwet (2014), section 3.5.1: 1 for the same category, 0 for the two farthest apart."""
    span = float(values.max() - values.min())
    return 1 - interval(values) / span**2


def _trace(matrices: Array) -> Array:
    return np.trace(matrices, axis1=-2, axis2=-1)


def _over(part: Array, whole: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(whole == 0, np.nan, part / whole))


def _beyond(observed: Array, expected: Array) -> Array:
    """Agreement beyond chance; NaN where chance alone is certain to agree."""
    certain = np.isclose(expected, 1.0, rtol=0, atol=1e-12)
    return _over(np.where(certain, 0.0, observed - expected), np.where(certain, 0.0, 1 - expected))
