"""Imported judgements as rows: with response ids in place of positions, and a slot closed for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from annotation import bulk
from annotation.models import Annotation, Assignment, Response, Task

if TYPE_CHECKING:  # records reads the bounds of tasks, and tasks makes rows with this module
    from annotation.records import Judgement

ANNOTATION = (
    "project_id", "task_id", "annotator_id", "kind", "revision", "status", "body", "seconds", "created_at",
    "guideline_id",
)  # fmt: skip


def response_ids(task_ids: list[int]) -> dict[int, list[int]]:
    """The response ids of each task in the order given at import."""
    ids: dict[int, list[int]] = {task: [] for task in task_ids}
    rows = Response.objects.filter(task__in=task_ids).order_by("task", "position").values_list("task", "pk")
    for task, response in rows:
        ids[task].append(response)
    return ids


@dataclass(frozen=True, slots=True)
class NewRow:
    """A judgement as it will be stored, made in an order of sides that nobody knows."""

    project_id: int
    task_id: int
    annotator_id: int
    kind: str
    revision: int
    status: str
    body: dict[str, Any]
    seconds: float | None
    created_at: datetime
    guideline_id: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom a judgement is by and what it was made under, as ids of ours."""

    account: Callable[[str], int]
    version: Callable[[int], int]


def new_row(
    project: int, task: int, kind: str, judgement: Judgement, origin: Origin, ids: list[int], revision: int
) -> NewRow:
    """The row of an imported judgement; `ids` are the task's responses in the order given."""
    made = judgement.created_at or timezone.now()
    body = with_ids(judgement.body, ids)
    annotator = origin.account(judgement.annotator)
    version = None if judgement.guideline is None else origin.version(judgement.guideline)
    return NewRow(project, task, annotator, kind, revision, judgement.status, body, judgement.seconds, made, version)


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


def store(rows: list[NewRow], *, fresh: bool = False) -> None:
    """Store judgements, and take each person's seat at the task, so that nobody meets a task again.

    `fresh` says that the tasks are new and nobody has a seat yet.
    """
    bulk.insert(Annotation, ANNOTATION, map(attrgetter(*ANNOTATION), rows))
    seats = {(row.task_id, row.annotator_id): row for row in rows}
    now = timezone.now()
    bulk.insert(
        Assignment,
        ("task_id", "project_id", "annotator_id", "state", "lease_until", "leased_at"),
        (
            (task, row.project_id, annotator, Assignment.State.SUBMITTED.value, now, row.created_at)
            for (task, annotator), row in (seats if fresh else _untaken(seats)).items()
        ),
    )


def _untaken(seats: dict[tuple[int, int], NewRow]) -> dict[tuple[int, int], NewRow]:
    """Those of people who have no seat there already."""
    taken = set(Assignment.objects.filter(task__in={task for task, _ in seats}).values_list("task", "annotator"))
    return {seat: row for seat, row in seats.items() if seat not in taken}


def close_slots(rows: list[NewRow]) -> None:
    """Each judgement that stands closes a slot of its task."""
    standing: dict[int, int] = defaultdict(int)
    for row in rows:
        standing[row.task_id] += row.status == Annotation.Status.SUBMITTED
    for count in set(standing.values()) - {0}:
        judged = [task for task, number in standing.items() if number == count]
        open_slots = Greatest(F("open_slots") - count, 0)
        Task.objects.filter(pk__in=judged).update(done=F("done") + count, open_slots=open_slots)
