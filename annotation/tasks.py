"""How tasks come in: in bulk, once for each external id, and never where a cursor would not look."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

from django.db import IntegrityError, connection
from django.db.models import Case, Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Greatest, Random
from django.utils import timezone

from annotation import bulk, draws, gold
from annotation.models import Assignment, Cursor, Order, Pool, Project, Purpose, Response, Task
from annotation.models.tasks import CHECKS, MAX_PRIORITY, MAX_RANK
from annotation.short_check import Plain
from annotation.writes import write_transaction

Record = dict[str, Any]

BATCH = 500  # records in one transaction, so that annotators never wait long behind an import
TASK = (
    "id", "project_id", "external_id", "prompt", "metadata", "purpose", "priority", "rank", "need", "open_slots",
    "done", "is_gold", "gold", "expected", "pool", "lot",
)  # fmt: skip
RESPONSE = ("id", "task_id", "position", "text", "source", "params", "score")


class Rules(Protocol):
    """What decides how often a task is judged, and in which order: a project, or the rules it had or will have."""

    @property
    def overlap(self) -> int: ...
    @property
    def agreement_share(self) -> float: ...
    @property
    def agreement_overlap(self) -> int: ...
    @property
    def order(self) -> str: ...


class Added(NamedTuple):
    """A new task, and the ids of its responses in the order given."""

    id: int
    responses: list[int]


def add_tasks(
    project: Project, records: Iterable[Record], *, purpose: str = Purpose.LABEL, source: str = ""
) -> list[Added]:
    """The tasks that were new among `records`, stored with their responses; known external ids are left alone.

    A record is checked already: {"id", "prompt": [messages], "responses": [{"text", "source", "params", "score"}],
    "metadata", "priority", "gold", "qualification", "need", "assigned_to": [user ids], "done"}, of which only the
    prompt must be there. `source` is for responses that name none. Each batch of 500 is a transaction of its own unless
    the caller holds one.
    """
    waiting = iter(records)
    added: list[Added] = []
    while batch := list(islice(waiting, BATCH)):
        added += _add_batch(project, batch, purpose, source)
    return added


def _add_batch(project: Project, batch: list[Record], purpose: str, source: str) -> list[Added]:
    for last_try in (connection.in_atomic_block, True):
        try:
            with write_transaction():
                return insert(project, _new_ones(project, batch), purpose, source)
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


def insert(project: Project, records: list[Record], purpose: str, source: str = "") -> list[Added]:
    """Store records that are new here; the caller holds the transaction."""
    if not records:
        return []
    given = [record.get("responses") or [] for record in records]
    ids, used = bulk.next_ids(Response, sum(map(len, given))), 0
    added = []
    for task, responses in zip(bulk.next_ids(Task, len(records)), given, strict=True):
        added.append(Added(task, shuffled(ids[used : used + len(responses)])))
        used += len(responses)
    rows = _tasks(project, added, records, purpose)
    bulk.insert(Task, TASK, rows)
    bulk.insert(Response, RESPONSE, _responses(added, given, source))
    seats = [
        seat_for(project.pk, one.id, person, one.responses)
        for one, record in zip(added, records, strict=True)
        for person in record.get("assigned_to") or ()
    ]
    if seats:
        Assignment.objects.bulk_create(seats)
    if not project.is_staging:  # nobody looks for a task there
        _restart_cursors(project, rows)
    return added


def insert_plain(staging: Project, given: Plain, purpose: str) -> None:
    """Store tasks of which nothing is said but id, prompt and texts; the caller holds the transaction.

    They come out as `insert` would store them, by columns, of which most are the same in every row.
    """
    tasks = bulk.next_ids(Task, len(given.ids))
    same: dict[str, Any] = {
        "project_id": staging.pk, "metadata": "{}", "purpose": purpose, "priority": 0, "open_slots": 0, "done": 0,
        "is_gold": False, "gold": None, "expected": None, "pool": int(Pool.QUEUE), "rank": 0, "need": staging.overlap,
    }  # fmt: skip
    columns: dict[str, list[Any]] = {"id": tasks, "external_id": given.ids, "prompt": given.messages, "lot": given.lots}
    if staging.order == Order.RANDOM:
        columns["rank"] = [random.randrange(1, MAX_RANK) for _ in tasks]
    if staging.agreement_share:
        columns["need"] = [wanted(staging, lot) for lot in given.lots]
    bulk.insert_columns(Task, {name: value for name, value in same.items() if name not in columns}, columns)
    bulk.insert_columns(
        Response,
        {"source": "", "params": "{}", "score": None},
        {
            "id": bulk.next_ids(Response, len(given.texts)),
            "task_id": list(chain.from_iterable(zip(*[tasks] * given.each, strict=True))),
            "position": given.places,
            "text": given.texts,
        },
    )


def seat_for(project: int, task: int, person: int, responses: list[int]) -> Assignment:
    """An assignment that keeps a slot of the task for one person; its sides are drawn now."""
    shown = random.sample(responses, len(responses))
    return Assignment(
        task_id=task,
        project_id=project,
        annotator_id=person,
        state=Assignment.State.ASSIGNED,
        reserved=True,
        shown=shown,
        lease_until=timezone.now(),
    )


def _restart_cursors(project: Project, rows: list[tuple[Any, ...]]) -> None:
    priority, rank, pool = (TASK.index(name) for name in ("priority", "rank", "pool"))
    queued = [row for row in rows if row[pool] == Pool.QUEUE]
    if queued:
        first = min(queued, key=lambda row: (-row[priority], row[rank]))
        restart_passed_cursors(project, priority=first[priority], rank=first[rank])
    else:
        restart_passed_cursors(project, priority=MAX_PRIORITY, rank=0)


def _tasks(project: Project, added: list[Added], records: list[Record], purpose: str) -> list[tuple[Any, ...]]:
    """The rows of new tasks in the order of TASK; what all have in common is asked of the project once."""
    rows: list[tuple[Any, ...]] = []
    key, is_random = project.pk, project.order == Order.RANDOM
    for one, record in zip(added, records, strict=True):
        get = record.get
        identifier, answer, done, named = get("id"), get("gold"), get("done") or 0, len(get("assigned_to") or ())
        lot, pool = draws.lot_of(identifier), 0
        expected: Any = None
        if answer is not None:
            pool = int(pool_of(project, answer, bool(get("qualification"))))
            expected = gold.expected_of(answer, one.responses)
        need = 0 if pool and pool in CHECKS else max(get("need") or named or wanted(project, lot), named)
        free = 0 if project.is_staging else max(need - named - done, 0)
        # As given, all ranks are equal and the ids decide, so that a later import comes after every cursor.
        rank = random.randrange(1, MAX_RANK) if is_random or (pool and pool in CHECKS) else 0
        rows.append((
            one.id, key, identifier, record["prompt"], get("metadata") or {}, purpose, get("priority") or 0, rank,
            need, free, done, answer is not None, answer, expected, pool, lot,
        ))  # fmt: skip
    return rows


def free_slots(staged: Project) -> Any:
    """The open slots of tasks that leave a staging project, where they have none: else they would be in the queue's
    index, which is built once, when they are published.
    """
    free = F("need") - F("done")
    kept = Assignment.objects.filter(project=staged, state=Assignment.State.ASSIGNED)
    if kept.exists():
        its = kept.filter(task=OuterRef("pk")).order_by().values("task").annotate(n=Count("pk")).values("n")
        free -= Coalesce(Subquery(its), 0)
    return Greatest(free, 0)


def wanted(project: Project, lot: int) -> int:
    """How many judgements a task with this lot wants: those of the agreement sample want another number."""
    share = project.agreement_share
    return project.agreement_overlap if share and lot < round(share * draws.LOTS) else project.overlap


def pool_of(project: Project, expected: object, qualification: bool) -> Pool:
    """Where a task stands: one with a known answer is apart if people qualify with it, or if such ones are mixed in."""
    if expected is None or not gold.comparable(project.kind):
        return Pool.QUEUE
    if qualification:
        return Pool.QUALIFICATION
    return Pool.GOLD if project.gold_share > 0 else Pool.QUEUE


def add_responses(task: int, responses: list[Record]) -> None:
    """Store the responses of a task that has none; the caller holds the transaction."""
    ids = shuffled(bulk.next_ids(Response, len(responses)))
    bulk.insert(Response, RESPONSE, _responses([Added(task, ids)], [responses], ""))


def shuffled(ids: list[int]) -> list[int]:
    """The ids in any order, so that the smaller one says nothing about where a response came from."""
    if len(ids) == 2:  # most often, and ten times as fast
        return ids if random.random() < 0.5 else ids[::-1]
    random.shuffle(ids)
    return ids


def _responses(added: list[Added], given: list[list[Record]], source: str) -> list[tuple[Any, ...]]:
    """The rows of new responses in the order of RESPONSE."""
    return [
        (
            identifier, task, position, response["text"], response.get("source") or source,
            response.get("params") or {}, response.get("score"),
        )
        for (task, ids), responses in zip(added, given, strict=True)
        for position, (identifier, response) in enumerate(zip(ids, responses, strict=True))
    ]  # fmt: skip


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


def wanted_by(rules: Rules) -> Case:
    """The same as `wanted`, of a row."""
    sample = When(lot__lt=round(rules.agreement_share * draws.LOTS), then=Value(rules.agreement_overlap))
    return Case(sample, default=Value(rules.overlap), output_field=IntegerField())


def move_apart(rows: QuerySet[Task], pool: Pool) -> int:
    """Take tasks out of the queue, to check people with; whoever holds one may still submit it."""
    return rows.update(pool=pool, need=0, open_slots=0, rank=drawn())


def move_to_queue(rows: QuerySet[Task], rules: Rules) -> int:
    """Put tasks that checked people back where everybody gets them, as often as the rules want."""
    held = Assignment.objects.filter(
        task=OuterRef("pk"), state__in=[Assignment.State.LEASED, Assignment.State.ASSIGNED]
    )
    live = Coalesce(Subquery(held.order_by().values("task").annotate(n=Count("pk")).values("n")), 0)
    free = Greatest(wanted_by(rules) - F("done") - live, 0)
    rank = drawn() if rules.order == Order.RANDOM else Value(0)
    return rows.update(pool=Pool.QUEUE, open_slots=free, need=free + F("done") + live, rank=rank)


def drawn() -> Any:
    """A rank drawn by the database, another one for each row."""
    return Cast(Random() * (MAX_RANK - 1), IntegerField()) + 1


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
            move_to_queue(rows, project)
        elif pool in CHECKS and task.pool != pool:
            move_apart(rows, pool)
    task.refresh_from_db(fields=["gold", "is_gold", "expected", "pool", "need", "open_slots", "rank"])
