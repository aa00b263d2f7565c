"""How tasks come in: in bulk, once for each external id, and never where a cursor would not look."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import Case, Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Greatest, Random
from django.utils import timezone

from annotation import draws, gold
from annotation.models import Assignment, Cursor, Order, Pool, Project, Purpose, Response, Task
from annotation.models.tasks import CHECKS, MAX_PRIORITY, MAX_RANK
from annotation.writes import write_transaction

Record = dict[str, Any]

BATCH = 500  # records in one transaction, so that annotators never wait long behind an import


def add_tasks(
    project: Project, records: Iterable[Record], *, purpose: str = Purpose.LABEL, source: str = ""
) -> list[Task]:
    """The tasks that were new among `records`, stored with their responses; known external ids are left alone.

    A record is checked already: {"id", "prompt": [messages], "responses": [{"text", "source", "params", "score"}],
    "metadata", "priority", "gold", "qualification", "need", "assigned_to": [user ids]}, of which only the prompt must
    be there. `source` is for responses that name none. Each batch of 500 is a transaction of its own unless the caller
    holds one.
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
    rows = [response_rows(task, record, source) for task, record in zip(tasks, records, strict=True)]
    Response.objects.bulk_create(response for responses in rows for response in responses)
    given = list(zip(tasks, records, rows, strict=True))
    if golden := [_with_expected(task, responses) for task, _, responses in given if task.is_gold]:
        Task.objects.bulk_update(golden, ["expected"])
    Assignment.objects.bulk_create(
        seat_for(task, person, [response.pk for response in responses])
        for task, record, responses in given
        for person in record.get("assigned_to") or []
    )
    _restart_cursors(project, tasks)
    return tasks


def _with_expected(task: Task, responses: list[Response]) -> Task:
    in_order = sorted(responses, key=lambda response: response.position)
    task.expected = gold.expected_of(task.gold, [response.pk for response in in_order])
    return task


def seat_for(task: Task, person: int, responses: list[int]) -> Assignment:
    """An assignment that keeps a slot of the task for one person; its sides are drawn now."""
    shown = random.sample(responses, len(responses))
    return Assignment(
        task=task,
        project_id=task.project_id,
        annotator_id=person,
        state=Assignment.State.ASSIGNED,
        reserved=True,
        shown=shown,
        lease_until=timezone.now(),
    )


def _restart_cursors(project: Project, tasks: list[Task]) -> None:
    queued = [task for task in tasks if task.pool == Pool.QUEUE]
    if queued:
        first = min(queued, key=lambda task: (-task.priority, task.rank))
        restart_passed_cursors(project, priority=first.priority, rank=first.rank)
    elif tasks:
        restart_passed_cursors(project, priority=MAX_PRIORITY, rank=0)


def _task(project: Project, record: Record, purpose: str) -> Task:
    lot = draws.lot_of(record.get("id"))
    named = len(record.get("assigned_to") or [])
    pool = pool_of(project, record.get("gold"), bool(record.get("qualification")))
    need = 0 if pool in CHECKS else max(record.get("need") or named or wanted(project, lot), named)
    # As given, all ranks are equal and the ids decide, so that a later import comes after every cursor.
    drawn = project.order == Order.RANDOM or pool in CHECKS
    return Task(
        project=project,
        external_id=record.get("id"),
        prompt=record["prompt"],
        metadata=record.get("metadata") or {},
        purpose=purpose,
        priority=record.get("priority") or 0,
        rank=random.randrange(1, MAX_RANK) if drawn else 0,
        need=need,
        open_slots=max(need - named, 0),
        is_gold=record.get("gold") is not None,
        gold=record.get("gold"),
        pool=pool,
        lot=lot,
    )


def wanted(project: Project, lot: int) -> int:
    """How many judgements a task with this lot wants: those of the agreement sample want another number."""
    return project.agreement_overlap if lot < round(project.agreement_share * draws.LOTS) else project.overlap


def pool_of(project: Project, expected: object, qualification: bool) -> Pool:
    """Where a task stands: one with a known answer is apart if people qualify with it, or if such ones are mixed in."""
    if expected is None or not gold.comparable(project.kind):
        return Pool.QUEUE
    if qualification:
        return Pool.QUALIFICATION
    return Pool.GOLD if project.gold_share > 0 else Pool.QUEUE


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
    """Raise the project's epoch when an annotator's cursor is already past this place in the queue.

    Where everybody begins at a rank of their own, any place among equal priorities may have been passed.
    """
    same = Q(priority=priority) if project.order == Order.RANDOM else Q(priority=priority, rank__gt=rank)
    if Cursor.objects.filter(Q(priority__lt=priority) | same, project=project).exists():
        restart_cursors(project)


def restart_cursors(project: Project) -> None:
    """Everybody looks through the queue from their start again."""
    Project.objects.filter(pk=project.pk).update(epoch=F("epoch") + 1)


def refresh_statistics() -> None:
    """Tell PostgreSQL's planner about many new tasks now, not a minute later: until then it would sort them all."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE annotation_task, annotation_assignment")


def change_overlap(project: Project, **rules: Any) -> int:
    """How many tasks want another number of judgements now: the unfinished ones that had the project's till now.

    `rules` are any of overlap, agreement_share and agreement_overlap. Slots that are taken stay taken.
    """
    before = _wanted_now(project)
    for name, value in rules.items():
        setattr(project, name, value)
    taken = F("need") - F("open_slots")
    need = Greatest(_wanted_now(project), taken)
    unfinished = project.tasks.exclude(pool__in=CHECKS).filter(done__lt=F("need"), need=before)
    with write_transaction():
        changed = unfinished.exclude(need=_wanted_now(project)).update(need=need, open_slots=need - taken)
        Project.objects.filter(pk=project.pk).update(**rules)
        if changed:
            restart_cursors(project)
    return changed


def _wanted_now(project: Project) -> Case:
    """The same as `wanted`, of a row."""
    sample = When(lot__lt=round(project.agreement_share * draws.LOTS), then=Value(project.agreement_overlap))
    return Case(sample, default=Value(project.overlap), output_field=IntegerField())


def change_gold_share(project: Project, share: float) -> None:
    """Mix gold tasks in at another rate: above 0 they leave the queue, at 0 they go back to where others stand."""
    mixed_in, mixes = project.gold_share > 0, share > 0
    with write_transaction():
        Project.objects.filter(pk=project.pk).update(gold_share=share)
        project.gold_share = share
        if mixes and not mixed_in and gold.comparable(project.kind):
            move_apart(project.tasks.filter(is_gold=True, pool=Pool.QUEUE), Pool.GOLD)
        if mixed_in and not mixes:
            move_to_queue(project, project.tasks.filter(pool=Pool.GOLD))
        restart_cursors(project)


def move_apart(rows: QuerySet[Task], pool: Pool) -> int:
    """Take tasks out of the queue, to check people with; whoever holds one may still submit it."""
    return rows.update(pool=pool, need=0, open_slots=0, rank=_drawn())


def move_to_queue(project: Project, rows: QuerySet[Task]) -> int:
    """Put tasks that checked people back where everybody gets them, as often as the project wants."""
    held = Assignment.objects.filter(
        task=OuterRef("pk"), state__in=[Assignment.State.LEASED, Assignment.State.ASSIGNED]
    )
    live = Coalesce(Subquery(held.order_by().values("task").annotate(n=Count("pk")).values("n")), 0)
    free = Greatest(_wanted_now(project) - F("done") - live, 0)
    rank = _drawn() if project.order == Order.RANDOM else Value(0)
    return rows.update(pool=Pool.QUEUE, open_slots=free, need=free + F("done") + live, rank=rank)


def _drawn() -> Any:
    return Cast(Random() * (MAX_RANK - 1), IntegerField()) + 1


def change_order(project: Project, order: str) -> None:
    """Put the open tasks in the order given, or in one drawn now, and send every cursor back to the start."""
    drawn = _drawn() if order == Order.RANDOM else 0
    with write_transaction():
        project.tasks.open().update(rank=drawn)
        Project.objects.filter(pk=project.pk).update(order=order, epoch=F("epoch") + 1)
    project.order = order


def mark_gold(task: Task, answer: dict[str, Any] | None) -> None:
    """Make `answer`, in terms of the responses as imported, the known one of a task; None makes it plain work again.

    The task moves to where its project keeps such tasks.
    """
    project, ids = task.project, list(task.responses.order_by("position").values_list("pk", flat=True))
    rows = Task.objects.filter(pk=task.pk)
    with write_transaction():
        rows.update(gold=answer, is_gold=answer is not None, expected=gold.expected_of(answer, ids))
        pool = pool_of(project, answer, task.pool == Pool.QUALIFICATION)
        if pool == Pool.QUEUE and task.pool in CHECKS:
            move_to_queue(project, rows)
        elif pool in CHECKS and task.pool != pool:
            move_apart(rows, pool)
    task.refresh_from_db(fields=["gold", "is_gold", "expected", "pool", "need", "open_slots", "rank"])
