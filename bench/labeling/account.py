"""What annotators were told, held against what is stored."""

from __future__ import annotations

from collections import Counter
from typing import Any

from labeling.loop import Told, percentiles

WRONG = ("errors", "double_hand_outs", "overruns", "lost", "saved_twice")


def figures(told: Told, stored: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates and percentiles, and the account of what went wrong: all of `WRONG` must be 0.

    `stored` has one {"annotation_id", "task_id"} for each judgement found afterwards, of tasks that each want one.
    """
    ids = {row["annotation_id"] for row in stored}
    per_task = Counter(row["task_id"] for row in stored)
    acknowledged = [annotation for annotation, _ in told.acknowledged]
    handed = Counter(told.handed)
    return {
        "judgements": len(acknowledged),
        "seconds": round(told.seconds, 2),
        "per_s": round(len(acknowledged) / told.seconds, 2) if told.seconds else 0.0,
        "next_ms": percentiles(told.next_ms),
        "submit_ms": percentiles(told.submit_ms),
        "next_and_submit_ms": percentiles(told.both_ms),
        "errors": sum(told.errors.values()),
        "error_kinds": dict(told.errors.most_common(3)),
        "double_hand_outs": sum(times - 1 for times in handed.values()),
        "overruns": sum(times - 1 for times in per_task.values()),
        "lost": len(set(acknowledged) - ids),
        "saved_twice": len(stored) - len(ids) + len(acknowledged) - len(set(acknowledged)),
    }
