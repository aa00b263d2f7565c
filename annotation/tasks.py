"""How tasks come in: in bulk, once for each external id, and never where a cursor would not look."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import F, IntegerField, Q
from django.db.models.functions import Cast, Random

from annotation.models import Cursor, Order, Project, Purpose, Response, Task
from annotation.models.tasks import MAX_RANK
from annotation.writes import write_transaction

Record = dict[str, Any]

BATCH = 500  # records in one transaction, so that annotators never wait long behind an import


def add_tasks(
    project: Project, records: Iterable[Record], *, purpose: str = Purpose.LABEL, source: str = ""
) -> list[Task]:
    """The tasks that were new among `records`, stored with their responses; known external ids are left alone.

    A record is checked already: {"id", "prompt": [messages], "responses": [{"text", "source", "params", "score"}],
    "metadata", "priority", "gold", "need"}, of which only the prompt must be there. `source` is for responses that
    name none. Each batch of 500 is one transaction of its own unless the caller holds one.
    """
    waiting = iter(records)
    added: list[Task] = []
    while batch := list(islice(waiting, BATCH)):
        added += _add_batch(project, batch, purpose, source)
    return added


def _add_batch(project: Project, batch: list[Record], purpose: str, source: str) -> list[Task]:
    for last_try in (connection.in_atomic_block, True):
        try:
            with write_transaction():
                return _insert(project, _new_ones(project, batch), purpose, source)
        except IntegrityError:  # somebody else is importing the same ids: look again at what is new
            if last_try:
                raise
    raise AssertionError("unreachable")


def _new_ones(project: Project, batch: list[Record]) -> list[Record]:
    ids = [record["id"] for record in batch if record.get("id") is not None]
    known = set(project.tasks.filter(external_id__in=ids).values_list("external_id", flat=True))
    return list(_unknown(batch, known))


def _unknown(batch: list[Record], known: set[str | None]) -> Iterator[Record]:
    for record in batch:
        if record.get("id") is None:
            yield record
        elif record["id"] not in known:
            known.add(record["id"])
            yield record


def _insert(project: Project, records: list[Record], purpose: str, source: str) -> list[Task]:
    tasks = Task.objects.bulk_create([_task(project, record, purpose) for record in records])
    Response.objects.bulk_create(
        response
        for task, record in zip(tasks, records, strict=True)
        for response in response_rows(task, record, source)
    )
    if tasks:
        first = min(tasks, key=lambda task: (-task.priority, task.rank))
        restart_passed_cursors(project, priority=first.priority, rank=first.rank)
    return tasks


def _task(project: Project, record: Record, purpose: str) -> Task:
    need = record.get("need") or project.overlap
    return Task(
        project=project,
        external_id=record.get("id"),
        prompt=record["prompt"],
        metadata=record.get("metadata") or {},
        purpose=purpose,
        priority=record.get("priority") or 0,
        # As given, all ranks are equal and the ids decide, so that a later import comes after every cursor.
        rank=random.randrange(1, MAX_RANK) if project.order == Order.RANDOM else 0,
        need=need,
        open_slots=need,
        is_gold=record.get("gold") is not None,
        gold=record.get("gold"),
    )


def response_rows(task: Task, record: Record, source: str) -> list[Response]:
    """The task's responses in a shuffled order, so that the smaller id says nothing about where one came from."""
    rows = [
        Response(
            task=task,
            position=position,
            text=response["text"],
            source=response.get("source") or source,
            params=response.get("params") or {},
            score=response.get("score"),
        )
        for position, response in enumerate(record.get("responses") or [])
    ]
    random.shuffle(rows)
    return rows


def restart_passed_cursors(project: Project, *, priority: int, rank: int) -> None:
    """Raise the project's epoch when an annotator's cursor is already past this place in the queue."""
    past = Q(priority__lt=priority) | Q(priority=priority, rank__gt=rank)
    if Cursor.objects.filter(past, project=project).exists():
        Project.objects.filter(pk=project.pk).update(epoch=F("epoch") + 1)


def refresh_statistics() -> None:
    """Tell PostgreSQL's planner about many new tasks now, not a minute later: until then it would sort them all."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE annotation_task, annotation_assignment")


def change_overlap(project: Project, overlap: int) -> int:
    """How many tasks now want `overlap` judgements: those nobody has opened that had the project's number till now."""
    with write_transaction():
        unopened = project.tasks.filter(done=0, open_slots=F("need"), need=project.overlap)
        changed = unopened.update(need=overlap, open_slots=overlap)
        Project.objects.filter(pk=project.pk).update(overlap=overlap)
    project.overlap = overlap
    return changed


def change_order(project: Project, order: str) -> None:
    """Put the open tasks in the order given, or in one drawn now, and send every cursor back to the start."""
    drawn = Cast(Random() * (MAX_RANK - 1), IntegerField()) + 1 if order == Order.RANDOM else 0
    with write_transaction():
        project.tasks.open().update(rank=drawn)
        Project.objects.filter(pk=project.pk).update(order=order, epoch=F("epoch") + 1)
    project.order = order
