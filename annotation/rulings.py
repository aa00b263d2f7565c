"""What reviewers have decided, as far as it stands: it counts instead of the votes wherever data leaves the project."""

from __future__ import annotations

from collections.abc import Iterable

from annotation.models import Adjudication
from annotation.spans import about

SETTLES = (Adjudication.Decision.ACCEPT, Adjudication.Decision.OVERRULE)


def standing(task_ids: Iterable[int]) -> dict[int, Adjudication]:
    """The ruling that stands on each task that has one: the latest, unless taken back or sent back since."""
    found: dict[int, Adjudication] = {}
    asked = set(task_ids)
    rows = Adjudication.objects.filter(**about(list(asked))).select_related("reviewer").order_by("pk")
    for row in rows.filter(withdrawal__isnull=True).exclude(decision=Adjudication.Decision.WITHDRAW):
        if row.task_id not in asked:
            continue
        if row.decision in SETTLES:
            found[row.task_id] = row
        else:
            found.pop(row.task_id, None)
    return found
