"""Intervals by resampling tasks, Efron and Tibshirani (1993), chapter 13: the percentile interval.

Tasks are the units that are drawn again, with all their votes, because votes on one task are not independent. For
kappa and alpha this is the interval that Zapf et al. (2016) recommend. Tasks that add the same numbers are drawn
together by one multinomial, which is the same experiment, so that a million tasks cost no more than their patterns.
Where people are told apart there are too many patterns: then tasks are drawn in random groups of equal size, which have
the variance of single tasks, as in the delete-a-group jackknife of Kott (2001).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation import intervals
from annotation.quality import measures

Array = NDArray[Any]

SEED = 20_111  # the same judgements give the same interval
REPLICATES, FEWER = 1000, 200  # of a whole project; of each of its many parts
GROUPS = 400  # of tasks; an interval's width is then known to one part in 28
CELLS = 2_000_000  # numbers in memory at a time
DIGITS = 4
ALIKE = 1e-9  # replicates no farther apart are one number

Estimates = dict[str, dict[str, float | None]]


def of_tasks(patterns: Array, often: Array, values: Array, *, part: bool = False) -> Estimates:
    """Every measure of tasks of which `often` (P) add each of `patterns` (see measures.rows_of), with its interval."""
    k = len(values)
    totals = [often.astype(np.float64) @ patterns]
    totals += [draws @ patterns for draws in _draws(often, FEWER if part else REPLICATES)]
    found = measures.all_of(measures.unpacked(np.vstack(totals), k), values)
    return {name: estimate(figures[0], figures[1:], tasks=int(often.sum())) for name, figures in found.items()}


def of_tables(tables: Array, values: Array) -> Estimates:
    """Every measure of what two people, or two groups, both judged; (U, K, K) is what each task, or group, adds."""
    k = len(values)
    some = tables.reshape(-1, k * k)
    some = some[some.any(axis=1)].astype(np.float64)
    drawn = (weights(len(some)) @ some).reshape(-1, k, k) if len(some) else np.zeros((1, k, k))
    found = measures.all_of(measures.of_tables(drawn), values) | {"cohen": measures.cohen(drawn)}
    return {name: estimate(figures[0], figures[1:], tasks=len(some)) for name, figures in found.items()}


def estimate(value: Any, replicates: Array, *, tasks: int) -> dict[str, float | None]:
    """A figure with its percentile interval.

    None where too few replicates have the figure at all, and where all are alike: votes that never differ cannot tell
    how far the next ones will.
    """
    if not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    finite = replicates[np.isfinite(replicates)]
    if tasks < 2 or 2 * len(finite) < len(replicates) or np.ptp(finite) < ALIKE:
        return {"value": round(float(value), DIGITS), "low": None, "high": None}
    outside = intervals.tail(tasks)
    low, high = np.quantile(finite, [outside, 1 - outside])
    return {"value": round(float(value), DIGITS), "low": round(float(low), DIGITS), "high": round(float(high), DIGITS)}


def grouped(tasks: int, most: int | None = None) -> Array:
    """The group in which each of `tasks` is drawn: itself, or where there are many one of `most`, else of GROUPS."""
    most = most or GROUPS
    if tasks <= most:
        return np.arange(tasks)
    return np.random.default_rng(SEED).permutation(tasks) % most


def weights(groups: int, replicates: int | None = None) -> Array:
    """(1 + replicates, groups) of how often each group is drawn; the first row is the plain count of one each."""
    rows = replicates or FEWER
    picked = np.random.default_rng(SEED).integers(groups, size=(rows, groups))
    cells = picked + groups * np.arange(rows)[:, None]
    drawn = np.bincount(cells.reshape(-1), minlength=rows * groups).reshape(rows, groups)
    return np.vstack([np.ones(groups), drawn])


def _draws(often: Array, replicates: int) -> Iterator[Array]:
    """(some replicates, patterns) of how often each pattern comes when all tasks are drawn again."""
    total = int(often.sum())
    if not total:
        return
    random = np.random.default_rng(SEED)
    at_once = max(1, CELLS // len(often))
    for first in range(0, replicates, at_once):
        size = min(at_once, replicates - first)
        yield random.multinomial(total, often / total, size=size).astype(np.float64)
