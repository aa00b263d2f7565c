"""Imported judgements as rows: with response ids in place of positions, and a slot closed for each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from annotation.models import Annotation, Assignment, Response, Task

if TYPE_CHECKING:  # records reads the bounds of tasks, and tasks makes rows with this module
    from annotation.records import Judgement


def response_ids(task_ids: list[int]) -> dict[int, list[int]]:
    """The response ids of each task in the order given at import."""
    ids: dict[int, list[int]] = {task: [] for task in task_ids}
    rows = Response.objects.filter(task__in=task_ids).order_by("task", "position").values_list("task", "pk")
    for task, response in rows:
        ids[task].append(response)
    return ids


def annotation_row(
    task: Task, kind: str, judgement: Judgement, annotator: int, ids: list[int], revision: int
) -> Annotation:
    """A judgement as it will be stored: made under no guidelines of ours, in an order of sides that nobody knows."""
    return Annotation(
        project_id=task.project_id,
        task_id=task.pk,
        annotator_id=annotator,
        kind=kind,
        revision=revision,
        status=judgement.status,
        body=with_ids(judgement.body, ids),
        shown=[],
        seconds=judgement.seconds,
        created_at=judgement.created_at or timezone.now(),
    )


def with_ids(body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """A body with response ids in place of positions."""
    stored = dict(body)
    if isinstance(body.get("choice"), int):
        stored["choice"] = ids[body["choice"]]
    if "aspects" in body:
        stored["aspects"] = {
            name: ids[side] if isinstance(side, int) else side for name, side in body["aspects"].items()
        }
    if "highlights" in body:
        stored["highlights"] = [one | {"response": ids[one["response"]]} for one in body["highlights"]]
    if "ranking" in body:
        stored["ranking"] = [sorted(ids[position] for position in place) for place in body["ranking"]]
    return stored


def store(rows: list[Annotation], *, close: bool = True) -> None:
    """Store judgements; each that stands closes a slot of its task, and no annotator meets a task again."""
    Annotation.objects.bulk_create(rows)
    now = timezone.now()
    seats = {(row.task_id, row.annotator_id): row for row in rows}
    Assignment.objects.bulk_create(
        [
            Assignment(
                task_id=task,
                project_id=row.project_id,
                annotator_id=annotator,
                state=Assignment.State.SUBMITTED,
                lease_until=now,
                leased_at=row.created_at,
            )
            for (task, annotator), row in seats.items()
        ],
        ignore_conflicts=True,  # a later revision has its seat already
    )
    if close:
        _close_slots(rows)


def _close_slots(rows: list[Annotation]) -> None:
    standing: dict[int, int] = defaultdict(int)
    for row in rows:
        standing[row.task_id] += row.status == Annotation.Status.SUBMITTED
    for count in set(standing.values()) - {0}:
        judged = [task for task, number in standing.items() if number == count]
        open_slots = Greatest(F("open_slots") - count, 0)
        Task.objects.filter(pk__in=judged).update(done=F("done") + count, open_slots=open_slots)
