"""Shares with 95 % confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable
from math import erf, sqrt
from statistics import NormalDist
from typing import Any

Z = 1.959963984540054  # the normal's 97.5 % point


def student(freedom: int) -> float:
    """Student's 97.5 % point, to a percent from three degrees of freedom on: Fisher's expansion about the normal's."""
    z, n = Z, max(freedom, 1)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def wider(number: int) -> float:
    """How much wider each of `number` intervals must be for all to hold together in 95% of cases: Bonferroni."""
    return NormalDist().inv_cdf(1 - 0.025 / max(number, 1)) / Z


def tail(n: int) -> float:
    """The share of replicates left out at each end of a percentile interval from `n` things that were drawn again.

    Plain percentiles are too narrow where things are few: Hesterberg (2015), section 5.2, "expanded percentiles".
    """
    if n < 2:
        return 0.0
    return (1 - erf(sqrt(n / (n - 1)) * student(n - 1) / sqrt(2))) / 2


def wilson(successes: float, n: int, *, effective: float | None = None) -> dict[str, Any] | None:
    """A share and its 95 % interval, Wilson (1927); None when nothing was counted.

    `effective` is the number of independent observations that `n` dependent ones are worth.
    """
    if n == 0:
        return None
    size, share = effective or float(n), successes / n
    centre = (share + Z * Z / (2 * size)) / (1 + Z * Z / size)
    half = Z * sqrt(share * (1 - share) / size + Z * Z / (4 * size * size)) / (1 + Z * Z / size)
    return {"value": share, "low": max(0.0, centre - half), "high": min(1.0, centre + half), "n": n}


def clustered(clusters: Iterable[tuple[float, int]]) -> dict[str, Any] | None:
    """A share and its interval when observations come in clusters, each (successes, n), that are alike inside.

    The variance of the ratio is taken between clusters (Cochran 1977, section 9A.2 with equal weights: the linearised
    ratio estimator), turned into an effective sample size (Kish 1965) and put into Wilson's interval.
    """
    counted = [(successes, n) for successes, n in clusters if n]
    total, k = sum(n for _, n in counted), len(counted)
    if not total:
        return None
    successes = sum(successes for successes, _ in counted)
    share = successes / total
    squares = sum((found - share * n) ** 2 for found, n in counted)
    if k < 2 or squares == 0 or not 0 < share < 1:
        return wilson(successes, total, effective=float(k))
    variance = squares / total**2 * k / (k - 1)
    return wilson(successes, total, effective=min(float(total), share * (1 - share) / variance))
