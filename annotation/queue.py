"""Who judges what next: leases, handed out so that no task is ever held or judged more often than it needs.

A slot of a task is in one of three places: free (`Task.open_slots`), in a live lease, or in a standing annotation.
Every move between them is an UPDATE guarded by the row's own state, and whoever changes no row was too late.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, connection
from django.db.models import F, FilteredRelation, Q, Value, prefetch_related_objects
from django.db.models.functions import Greatest
from django.utils import timezone

from annotation import claiming
from annotation.claiming import Place
from annotation.models import Assignment, Cursor, Project, Task, User
from annotation.writes import write_transaction

LEASED, EXPIRED, SKIPPED = Assignment.State.LEASED, Assignment.State.EXPIRED, Assignment.State.SKIPPED
ATTEMPTS = 50  # each repeats only because somebody else got further, so this many in a row means a defect


class LeaseLost(Exception):
    """The task is no longer this person's: the time ran out and the slot went to somebody else."""


def lease_next(project: Project, user: User) -> Assignment | None:
    """The task `user` holds already, its lease renewed, else a new one; None when nothing is left for them.

    The assignment comes with its task, the task with its responses.
    """
    return _next(project, user, besides=None)


def prefetch_next(project: Project, user: User, *, besides: Assignment) -> Assignment | None:
    """The task after `besides`, leased one ahead so that it can be shown the moment that one is judged."""
    return _next(project, user, besides=besides.pk)


def renew(assignment: Assignment) -> Assignment:
    """The lease made as long as a new one; one that ran out is taken up again while a slot is free, else LeaseLost."""
    until = timezone.now() + timedelta(minutes=assignment.project.lease_minutes)
    mine = Assignment.objects.filter(pk=assignment.pk)
    if mine.filter(state=LEASED).update(lease_until=_later(until)) or _take_up(assignment, until):
        assignment.state, assignment.lease_until = LEASED, until
        return assignment
    raise LeaseLost("Your time on this task ran out and it went to somebody else.")


def skip(task: Task, user: User, reason: str = "") -> None:
    """Give the task back for good: others may get it, this person never again. LeaseLost when they do not hold it."""
    mine = Assignment.objects.filter(task=task, annotator=user)
    with write_transaction():
        held = mine.filter(state=LEASED).update(state=SKIPPED, skip_reason=reason)
        if held:
            give_slot_back(task.pk)
        skipped = held or mine.filter(state=EXPIRED).update(state=SKIPPED, skip_reason=reason)
    if not skipped and not mine.filter(state=SKIPPED).exists():
        raise LeaseLost("You do not hold this task, so it cannot be skipped.")


def reopen(task: Task) -> None:
    """Ask for one more judgement of the task; it is offered before tasks that nobody has seen."""
    Task.objects.filter(pk=task.pk).update(need=F("need") + 1, open_slots=F("open_slots") + 1, reopened=True)


def expire_leases(limit: int = 500, *, project: Project | None = None) -> int:
    """How many leases that ran out gave their slot back now; drafts stay with their assignments."""
    lapsed = Assignment.objects.lapsed()
    if project is not None:
        lapsed = lapsed.filter(project=project)
    expired = 0
    for pk, task_id in lapsed.order_by("lease_until").values_list("pk", "task_id")[:limit]:
        with write_transaction():
            # Renewed or submitted since it was read? Then this changes no row and the slot stays where it is.
            if Assignment.objects.lapsed().filter(pk=pk).update(state=EXPIRED):
                give_slot_back(task_id)
                expired += 1
    return expired


def give_slot_back(task_id: int) -> None:
    """Free one slot of the task and offer it first, because cursors may have passed it."""
    Task.objects.filter(pk=task_id).update(open_slots=F("open_slots") + 1, reopened=True)


def take_slot(task_id: int) -> bool:
    """Whether the task had a free slot, which is taken now."""
    return bool(Task.objects.filter(pk=task_id, open_slots__gt=0).update(open_slots=F("open_slots") - 1))


@dataclass(frozen=True, slots=True)
class _Standing:
    """What one statement tells about a person in a project: how far they are and what they hold."""

    epoch: int
    archived: bool
    lease: timedelta
    cursor_id: int | None
    turn: int
    place: Place
    held: list[int]  # assignments, the one to show first in front


class _NotMyTurn(Exception):
    """Another request of the same person was first."""


def _next(project: Project, user: User, *, besides: int | None) -> Assignment | None:
    place: Place | None = None
    for attempt in range(ATTEMPTS):
        standing = _standing(project, user, besides)
        if standing.archived:
            return None
        until = timezone.now() + standing.lease
        if standing.held:
            if held := _still_held(project, user, standing.held[0], until):
                return held
            continue
        try:
            if leased := _lease(project, user, standing, place or standing.place, until):
                return leased
        except (_NotMyTurn, IntegrityError):  # their other tab was first: what it got is theirs here too
            if connection.needs_rollback:
                raise
            continue
        if not expire_leases(project=project):
            place = claiming.first_untouched(project, user)
            if place is None:
                return None
            time.sleep(0.002 * attempt)  # on PostgreSQL the slot is there but its row is locked by somebody's commit
    raise RuntimeError(f"No task could be leased to {user} in {project.slug}, though there are some.")


def _standing(project: Project, user: User, besides: int | None) -> _Standing:
    mine = Q(assignments__annotator=user, assignments__state=LEASED)
    rows = (
        Project.objects.filter(pk=project.pk)
        .annotate(
            cursor=FilteredRelation("cursors", condition=Q(cursors__annotator=user)),
            held=FilteredRelation("assignments", condition=mine),
        )
        .order_by("held__leased_at", "held__pk")
        .values_list(
            "epoch", "is_archived", "lease_minutes", "held__pk", "cursor__pk", "cursor__turn", "cursor__epoch",
            "cursor__priority", "cursor__rank", "cursor__task_id",
        )
    )  # fmt: skip
    found = list(rows)
    if not found:
        raise Project.DoesNotExist(f"Project {project.pk} is gone.")
    epoch, archived, minutes, _, cursor_id, turn, cursor_epoch, *place = found[0]
    return _Standing(
        epoch=epoch,
        archived=archived,
        lease=timedelta(minutes=minutes),
        cursor_id=cursor_id,
        turn=turn or 0,
        place=Place(*place) if cursor_epoch == epoch else claiming.START,
        held=[row[3] for row in found if row[3] not in (None, besides)],
    )


def _still_held(project: Project, user: User, pk: int, until: datetime) -> Assignment | None:
    if not Assignment.objects.filter(pk=pk, state=LEASED).update(lease_until=_later(until)):
        return None
    assignment = Assignment.objects.select_related("task").get(pk=pk)
    return _complete(assignment, project, user)


def _lease(project: Project, user: User, standing: _Standing, place: Place, until: datetime) -> Assignment | None:
    """Take a slot, move the cursor and write the lease: all of it, or nothing."""
    with write_transaction():
        task = claiming.claim(project, user, place)
        if task is None:
            return None
        _move_cursor(project, user, standing, place, task)
        return _assign(project, user, task, until)


def _move_cursor(project: Project, user: User, standing: _Standing, place: Place, task: Task) -> None:
    """Move the person's cursor up to `task`, unless another request of theirs did so since their standing was read.

    A task that came back lies anywhere in the queue, so the cursor stays for it and only the turn counts up.
    """
    if not task.reopened:
        place = Place(task.priority, task.rank, task.pk)
    fields = {"epoch": standing.epoch, "priority": place.priority, "rank": place.rank, "task_id": place.task_id}
    if standing.cursor_id is None:
        Cursor.objects.create(project=project, annotator=user, **fields)
    elif not Cursor.objects.filter(pk=standing.cursor_id, turn=standing.turn).update(turn=F("turn") + 1, **fields):
        raise _NotMyTurn


def _assign(project: Project, user: User, task: Task, until: datetime) -> Assignment:
    """The lease itself: a new row, or the person's own one that had run out, with its draft and its sides."""
    if task.reopened and (before := Assignment.objects.filter(task=task, annotator=user).first()):
        fields = {"state": LEASED, "lease_until": until, "leased_at": timezone.now()}
        if not Assignment.objects.filter(pk=before.pk, state=EXPIRED).update(**fields):
            raise _NotMyTurn
        before.state, before.lease_until, before.task = LEASED, until, task
        return _complete(before, project, user)
    prefetch_related_objects([task], "responses")
    shown = [response.pk for response in task.responses.all()]
    random.shuffle(shown)
    assignment = Assignment(task=task, project=project, annotator=user, lease_until=until, shown=shown)
    assignment.save(force_insert=True)
    return _complete(assignment, project, user)


def _take_up(assignment: Assignment, until: datetime) -> bool:
    """Whether a lease that had run out is held again: a slot was free and the row was still as it was read."""
    with write_transaction():
        # The task's row first, as in every path that may wait for it, so that two of them never wait for each other.
        if not take_slot(assignment.task_id):
            return False
        again = Assignment.objects.filter(pk=assignment.pk, state=EXPIRED).update(state=LEASED, lease_until=until)
        if not again:
            Task.objects.filter(pk=assignment.task_id).update(open_slots=F("open_slots") + 1)
    return bool(again)


def _complete(assignment: Assignment, project: Project, user: User) -> Assignment:
    """The assignment with everything a page needs at hand."""
    assignment.project, assignment.annotator = project, user
    assignment.task.project = project
    prefetch_related_objects([assignment.task], "responses")
    return assignment


def _later(until: datetime) -> Greatest:
    """A lease is never made shorter: an item that a reviewer sent back may wait for two weeks."""
    return Greatest(F("lease_until"), Value(until))
