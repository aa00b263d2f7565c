"""New queue rules on their way to the tasks that are there: at once to few, to many by the worker, some at a time.

Every batch is one short transaction that also says how far it got, so that annotators never wait long, no task is ever
between two rules, and a worker that dies is followed by one that goes on where it stopped. Until its turn comes a task
keeps the rules it had. Changes of one project are carried out one after the other: each finds the tasks as the one
before it leaves them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, TypedDict

from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone
from django_tasks import task

from annotation import gold, tasks
from annotation.models import Order, Pool, Project, RuleChange, Task, User
from annotation.models.tasks import CHECKS
from annotation.writes import write_transaction

FEW = 5_000  # tasks that a request may change itself
BATCH = 2_000  # tasks in one transaction: some hundredths of a second
SILENCE = timedelta(minutes=2)  # a change that lives tells so at every batch


@dataclass(frozen=True)
class Rules:
    """The rules of a project that every one of its tasks has a part of."""

    overlap: int
    agreement_share: float
    agreement_overlap: int
    gold_share: float
    order: str


class Progress(TypedDict):
    """How many tasks the changes of a project have reached; `total` is None until the worker has counted."""

    seen: int
    total: int | None


NAMES = tuple(field.name for field in fields(Rules))


def begin(project: Project, *, by: User, **rules: Any) -> None:
    """Make `rules` the project's for new tasks, and have them reach those that are there.

    The caller holds a write transaction.
    """
    before = {name: getattr(project, name) for name in NAMES}
    after = before | {name: rules[name] for name in NAMES if name in rules}
    if after == before:
        return
    Project.objects.filter(pk=project.pk).update(**after)
    tasks.restart_cursors(project)
    last = project.tasks.aggregate(last=Max("pk"))["last"]
    if last is None:
        return
    change = RuleChange(project=project, created_by=by, before=before, after=after, upto=last)
    waits = project.rule_changes.under_way().exists() or not _are_few(project)
    if waits:
        change.save()
        transaction.on_commit(lambda: run.enqueue(project.pk))
    else:
        _apply(change, project.tasks.all())


def catch_up(project: Project, stored: Project, *, first: int, last: int) -> None:
    """Have the tasks from id `first` to `last`, which came in under the rules of `stored`, follow those of today.

    The caller holds a write transaction.
    """
    today = Project.objects.filter(pk=project.pk).values(*NAMES).get()
    before = {name: getattr(stored, name) for name in NAMES}
    if before == today:
        return
    project.rule_changes.create(before=before, after=today, reached=first - 1, upto=last)
    transaction.on_commit(lambda: run.enqueue(project.pk))


def progress(project: Project) -> Progress | None:
    """How far the new rules are on their way to the tasks; None when every task has them."""
    return progress_of([project]).get(project.pk)


def progress_of(found: list[Project]) -> dict[int, Progress]:
    """The same for many projects, by id; one on which nothing is under way is left out."""
    told: dict[int, Progress] = {}
    for change in RuleChange.objects.under_way().filter(project__in=found):
        before = told.get(change.project_id, Progress(seen=0, total=0))
        known = before["total"] is not None and change.total is not None
        total = (before["total"] or 0) + (change.total or 0) if known else None
        told[change.project_id] = Progress(seen=before["seen"] + change.seen, total=total)
    return told


def last_applied(project: Project) -> int | None:
    """Which change was the last one to reach every task."""
    return project.rule_changes.exclude(finished_at=None).aggregate(last=Max("pk"))["last"]


@task(priority=50)  # before imports and reports, which may take minutes
def run(project_id: int) -> None:
    """The worker's part: all changes of a project that are under way, first to last."""
    carry_on(project_id)


def carry_on(project_id: int) -> None:
    """Bring every change of the project to its end, unless another worker turns out to be at it."""
    while change := RuleChange.objects.under_way().select_related("project").filter(project=project_id).first():
        if change.total is None:
            change.total = change.project.tasks.filter(pk__gt=change.reached, pk__lte=change.upto).count()
            RuleChange.objects.filter(pk=change.pk).update(total=change.total, heartbeat=timezone.now())
        if not _step(change):
            return


def sweep() -> int:
    """Go on with changes whose worker died; gives how many projects they are of."""
    lost = timezone.now() - SILENCE
    silent = RuleChange.objects.under_way().filter(Q(heartbeat__lt=lost) | Q(heartbeat=None, created_at__lt=lost))
    found = set(silent.values_list("project", flat=True))
    silent.update(heartbeat=timezone.now())
    for project_id in found:
        run.enqueue(project_id)
    return len(found)


def _step(change: RuleChange) -> bool:
    """Whether this call took the change one batch further; not when somebody else just did."""
    rest = change.project.tasks.filter(pk__gt=change.reached, pk__lte=change.upto)
    ids = list(rest.order_by("pk").values_list("pk", flat=True)[:BATCH])
    now = timezone.now()
    ends = {"finished_at": now, "reached": change.upto} if len(ids) < BATCH else {"reached": ids[-1]}
    with write_transaction():
        here = RuleChange.objects.under_way().filter(pk=change.pk, reached=change.reached)
        if not here.update(**ends, seen=F("seen") + len(ids), heartbeat=now):
            return False
        if ids:
            # By the ids alone: told the project as well, SQLite would walk its whole queue to find these few.
            _apply(change, Task.objects.filter(pk__gte=ids[0], pk__lte=ids[-1], pk__in=rest.values("pk")))
        if "finished_at" in ends:
            tasks.restart_cursors(change.project)  # to find what was opened behind them
    return True


def _are_few(project: Project) -> bool:
    return not project.tasks.order_by("pk").values_list("pk", flat=True)[FEW : FEW + 1]


def _apply(change: RuleChange, rows: QuerySet[Task]) -> None:
    """Give the tasks the new rules; the caller holds the transaction."""
    before, after = Rules(**change.before), Rules(**change.after)
    _change_overlap(rows, before, after)
    _change_gold(rows, before, after, change.project)
    if before.order != after.order:
        rows.filter(open_slots__gt=0, pool=Pool.QUEUE).update(rank=tasks.drawn() if after.order == Order.RANDOM else 0)


def _change_overlap(rows: QuerySet[Task], before: Rules, after: Rules) -> None:
    """Another number of judgements for the unfinished tasks that had the project's; slots that are taken stay taken."""
    had, wanted = tasks.wanted_by(before), tasks.wanted_by(after)
    taken = F("need") - F("open_slots")
    need = Greatest(wanted, taken)
    unfinished = rows.exclude(pool__in=CHECKS).filter(done__lt=F("need"), need=had)
    if had != wanted:
        unfinished.exclude(need=wanted).update(need=need, open_slots=need - taken)


def _change_gold(rows: QuerySet[Task], before: Rules, after: Rules, project: Project) -> None:
    """Above a share of 0 gold tasks leave the queue, at 0 they go back to where others stand."""
    mixed_in, mixes = before.gold_share > 0, after.gold_share > 0
    if mixes and not mixed_in and gold.comparable(project.kind):
        tasks.move_apart(rows.filter(is_gold=True, pool=Pool.QUEUE), Pool.GOLD)
    if mixed_in and not mixes:
        tasks.move_to_queue(rows.filter(pool=Pool.GOLD), after)
