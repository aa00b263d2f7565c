"""Figures of a final report: intervals, calibration, the reload check, and what every report has in common."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Sequence
from typing import Any

import torch

from training.data import RowAccount
from training.rundir import RunDir, RunError
from training.runfile import RunFile

NOTHING_HELD_OUT = "The snapshot has no held-out rows: nothing says how well this generalises."
Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution


def wilson(successes: float, n: int) -> dict[str, Any]:
    """A share with its 95 % interval: Wilson (1927), which stays inside 0 to 1 and holds for small n."""
    if n == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    share, z2 = successes / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return {"value": share, "low": max(0.0, middle - half), "high": min(1.0, middle + half), "n": n}


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """By how much two judges of the same rows differ in their share of right ones, with its 95 % interval.

    The rows are the same, so the variance is that of the differences (McNemar 1947), which is smaller than what two
    intervals side by side suggest. Half a row is added to each of the four ways
    two verdicts can fall (Agresti and Min 2005), so that a few rows prove nothing.
    """
    n = len(first)
    moves = [a - b for a, b in zip(first, second, strict=True)] + [1.0, -1.0, 0.0]
    weights = [1.0] * n + [0.5, 0.5, 1.0]
    total = sum(weights)
    mean = sum(w * move for w, move in zip(weights, moves, strict=True)) / total
    variance = sum(w * (move - mean) ** 2 for w, move in zip(weights, moves, strict=True)) / total
    half = Z95 * math.sqrt(variance / total)
    value = sum(moves[:n]) / n if n else 0.0
    return {"value": value, "low": max(-1.0, mean - half), "high": min(1.0, mean + half), "n": n}


def calibration(
    confidence: Sequence[float], correct: Sequence[float], bins: int = 5
) -> tuple[float, list[dict[str, Any]]]:
    """(expected calibration error, its bins): Guo et al. (2017) equation 3, on confidences between 0.5 and 1."""
    rows, error = [], 0.0
    for place in range(bins):
        low, high = 0.5 + place * 0.5 / bins, 0.5 + (place + 1) * 0.5 / bins
        inside = [
            i for i, value in enumerate(confidence) if low <= value < high or (place == bins - 1 and value >= high)
        ]
        if not inside:
            rows.append({"low": low, "high": high, "predicted": None, "observed": None, "n": 0})
            continue
        predicted = sum(confidence[i] for i in inside) / len(inside)
        observed = sum(correct[i] for i in inside) / len(inside)
        rows.append({"low": low, "high": high, "predicted": predicted, "observed": observed, "n": len(inside)})
        error += len(inside) / len(confidence) * abs(predicted - observed)
    return error, rows


def reload_check(before: Sequence[float], after: Sequence[float], *, tolerance: float) -> dict[str, Any]:
    """What the trained model and the one loaded back from model/ say about the same rows; RunError when they differ.

    `tolerance` is relative to the larger of 1 and the largest score.
    """
    difference = max(abs(x - y) for x, y in zip(before, after, strict=True))
    if not difference <= tolerance * max(1.0, *(abs(value) for value in before)):
        raise RunError(
            f"The saved model differs from the trained one: by {difference:.3g} on {len(before)} rows.",
            "The last checkpoint is kept; this is a fault of the engine or of a library, please report it.",
        )
    return {"ok": True, "rows": len(before), "max_abs_diff": difference}


def tolerance_of(dtype: torch.dtype) -> float:
    """How far two passes over the same rows may differ: kernels and batch shapes change the last digits."""
    return 1e-4 if dtype == torch.float32 else 5e-2


def common(run: RunDir, config: RunFile, accounts: Sequence[RowAccount], *, steps: int, tokens: int) -> dict[str, Any]:
    """The part of report.json that every kind of run fills in the same way."""
    return {
        "kind": config.kind,
        "seconds": round(run.seconds, 2),
        "steps": steps,
        "tokens": tokens,
        "peak_memory_mb": peak_memory_mb(),
        "rows": {account.split: account.as_dict() for account in accounts},
        "template": config.template or "tokenizer",
    }


def peak_memory_mb() -> float:
    """The most memory this process held: of the GPU where it used one, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
