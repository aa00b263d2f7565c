"""Who judges what next: leases, handed out so that no task is ever held or judged more often than it needs.

A slot of a task is in one of three places: free (`Task.open_slots`), in a live lease, or in a standing annotation.
Every move between them is an UPDATE guarded by the row's own state, and whoever changes no row was too late.
"""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta

from django.db import IntegrityError, connection
from django.db.models import (
    Case,
    F,
    PositiveSmallIntegerField,
    Q,
    SmallIntegerField,
    Value,
    When,
)
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext

from annotation import at_once, claiming, draws, repeats
from annotation.claiming import Place
from annotation.draws import Turn
from annotation.lookups import Insert
from annotation.models import Assignment, Cursor, Pool, Project, RepeatCheck, SkipTo, Task, User
from annotation.standing import NotNow, Standing, standing_of
from annotation.writes import changed, write_transaction

__all__ = ["LeaseLost", "NotNow", "expire_leases", "lease_next", "prefetch_next", "renew", "reopen", "skip"]

LEASED, EXPIRED, SKIPPED = Assignment.State.LEASED, Assignment.State.EXPIRED, Assignment.State.SKIPPED
ASSIGNED = Assignment.State.ASSIGNED
SKIPPED_GO = {SkipTo.REVIEW: Pool.REVIEW, SkipTo.DROP: Pool.DROPPED}
ATTEMPTS = 50  # each repeats only because somebody else got further, so this many in a row means a defect


LEASE = Insert(Assignment)
MOVE = """
UPDATE annotation_cursor SET turn = turn + 1, epoch = %(epoch)s, priority = %(priority)s, rank = %(rank)s,
    task_id = %(task_id)s, gold_rank = %(gold_rank)s
WHERE id = %(cursor)s AND turn = %(turn)s
"""


class LeaseLost(Exception):
    """The task is no longer this person's: the time ran out and the slot went to somebody else."""


def lease_next(project: Project, user: User) -> Assignment | None:
    """The task `user` holds already, its lease renewed, else a new one; None when nothing is left for them.

    NotNow when they may not judge here. The assignment comes with its task, the task with its responses.
    """
    return _next(project, user, besides=None)


def prefetch_next(project: Project, user: User, *, besides: Assignment) -> Assignment | None:
    """The task after `besides`, leased one ahead so that it can be shown the moment that one is judged."""
    return _next(project, user, besides=besides.task_id)


def renew(assignment: Assignment) -> Assignment:
    """The lease made as long as a new one, that of the task leased ahead too; one that ran out is taken up again
    while a slot is free, else LeaseLost.
    """
    until = timezone.now() + timedelta(minutes=assignment.project.lease_minutes)
    mine = Assignment.objects.filter(pk=assignment.pk, state__in=[LEASED, ASSIGNED])
    if mine.update(state=LEASED, lease_until=_later(until)) or _take_up(assignment, until):
        assignment.state, assignment.lease_until = LEASED, until
        ahead = Assignment.objects.filter(
            project=assignment.project_id, annotator=assignment.annotator_id, state=LEASED, lease_until__lt=until
        )
        ahead.update(lease_until=until)
        return assignment
    if check := repeats.open_one(assignment.task_id, assignment.annotator):
        return repeats.stand_in(check, assignment.project, assignment.annotator, until)
    raise LeaseLost(gettext("Your time on this task ran out and it went to somebody else."))


def skip(task: Task, user: User, reason: str = "") -> None:
    """Give the task back for good: others may get it, this person never again. LeaseLost when they do not hold it.

    The skip that reaches the project's limit takes the task out of the queue, where its rule says so.
    """
    if task.pool == Pool.QUALIFICATION:
        raise LeaseLost(gettext("Items of the qualification cannot be skipped."))
    if repeats.skip(task, user):
        return
    mine = Assignment.objects.filter(task=task, annotator=user)
    with write_transaction():
        held = mine.filter(state__in=[LEASED, ASSIGNED]).update(state=SKIPPED, skip_reason=reason)
        skipped = held or mine.filter(state=EXPIRED).update(state=SKIPPED, skip_reason=reason)
        if skipped:
            _count_skip(task, slots=held)
    if not skipped and not mine.filter(state=SKIPPED).exists():
        raise LeaseLost(gettext("You do not hold this task, so it cannot be skipped."))


def _count_skip(task: Task, slots: int) -> None:
    """One more skip, the slot given back, and the task moved to where the rule sends it."""
    goes_to = SKIPPED_GO.get(SkipTo(task.project.skip_to))
    pool: dict[str, object] = {}
    if goes_to is not None:
        last = When(pool=Pool.QUEUE, skips__gte=task.project.skip_limit - 1, then=Value(goes_to.value))
        pool = {"pool": Case(last, default=F("pool"), output_field=PositiveSmallIntegerField())}
    rows = Task.objects.filter(pk=task.pk)
    rows.update(skips=F("skips") + 1, **_one_more(slots), **pool)


def _one_more(slots: int = 1) -> dict[str, object]:
    """The columns of a task that gets `slots` back; one without slots, which checks people, stays without."""
    free = When(open_slots__lt=F("need"), then=F("open_slots") + slots)
    open_slots = Case(free, default=F("open_slots"), output_field=SmallIntegerField())
    return {"open_slots": open_slots, "reopened": True} if slots else {}


def reopen(task: Task) -> None:
    """Ask for one more judgement of the task; it is offered before tasks that nobody has seen."""
    Task.objects.filter(pk=task.pk).update(need=F("need") + 1, open_slots=F("open_slots") + 1, reopened=True)


def expire_leases(limit: int = 500, *, project: Project | None = None) -> int:
    """How many leases that ran out gave their slot back now; drafts stay with their assignments."""
    lapsed = Assignment.objects.lapsed()
    if project is not None:
        lapsed = lapsed.filter(project=project)
    expired = 0
    for pk, task_id, reserved in lapsed.order_by("lease_until").values_list("pk", "task_id", "reserved")[:limit]:
        mine = Assignment.objects.lapsed().filter(pk=pk)
        if reserved:  # the slot is kept for this person: their task waits for them
            mine.update(state=ASSIGNED)
            continue
        with write_transaction():
            # Renewed or submitted since it was read? Then this changes no row and the slot stays where it is.
            if mine.update(state=EXPIRED):
                give_slot_back(task_id)
                expired += 1
    return expired


def give_slot_back(task_id: int) -> None:
    """Free one slot of the task and offer it first, because cursors may have passed it."""
    Task.objects.filter(pk=task_id).update(**_one_more())


def take_slot(task_id: int, **fields: object) -> bool:
    """Whether the task had a free slot, which is taken now; one that checks people always has a place."""
    free = Task.objects.filter(Q(open_slots__gt=0) | Q(need=0), pk=task_id)
    return bool(free.update(open_slots=Greatest(F("open_slots") - 1, 0), **fields))


class _NotMyTurn(Exception):
    """Another request of the same person was first."""


def _next(project: Project, user: User, *, besides: int | None) -> Assignment | None:
    """`besides` is the task on display, which is not handed out again."""
    place: Place | None = None
    for attempt in range(ATTEMPTS):
        standing = standing_of(project, user)
        if standing.archived:
            return None
        until = timezone.now() + standing.lease
        if held := [pk for pk, task_id in standing.held if task_id != besides]:
            if assignment := _still_held(project, user, held[0], until):
                return assignment
            continue
        if standing.qualifying and besides is not None:
            return None  # one at a time: what was right is told before the next one comes
        if standing.repeat and standing.repeat[1] != besides:
            check = RepeatCheck.objects.select_related("task").get(pk=standing.repeat[0])
            return repeats.stand_in(check, project, user, until)
        try:
            if leased := _lease(project, user, standing, place or standing.place, until):
                return leased
        except (_NotMyTurn, IntegrityError):  # their other tab was first: what it got is theirs here too
            if connection.needs_rollback:
                raise
            continue
        if standing.qualifying:
            missing = gettext("The qualification has no item left for you. A manager can add more.")
            raise NotNow("not-qualified", missing)
        if not expire_leases(project=project):
            place = claiming.first_untouched(project, user)
            if place is None:
                return None
            time.sleep(0.002 * attempt)  # on PostgreSQL the slot is there but its row is locked by somebody's commit
    raise RuntimeError(f"No task could be leased to {user} in {project.slug}, though there are some.")


def _still_held(project: Project, user: User, pk: int, until: datetime) -> Assignment | None:
    if not Assignment.objects.filter(pk=pk, state=LEASED).update(lease_until=_later(until)):
        return None
    assignment = Assignment.objects.select_related("task").get(pk=pk)
    return _complete(assignment, project, user)


def _lease(project: Project, user: User, standing: Standing, place: Place, until: datetime) -> Assignment | None:
    """Take what this turn brings, move the cursor and write the lease: all of it, or nothing."""
    plain = not standing.mixed and not standing.qualifying and standing.assigned is None
    if plain and standing.cursor_id is not None and at_once.is_possible():
        return _lease_at_once(project, user, standing, place, until)
    with write_transaction():
        if standing.qualifying:
            start = standing.qualification_start
            task = claiming.next_check(project, user, Pool.QUALIFICATION, after=start, start=start)
            return _hand_out(project, user, standing, place, task, until) if task else None
        if standing.turn_brings == Turn.GOLD:
            start = draws.start_of(project.pk, user.pk)
            task = claiming.next_check(project, user, Pool.GOLD, after=standing.gold_rank, start=start)
            if task is not None:
                return _hand_out(project, user, standing, place, task, until)
        again = standing.turn_brings == Turn.REPEAT and standing.repeat is None
        if again and (check := repeats.begin(project, user, after=standing.repeat_after)):
            _move_cursor(project, user, standing, place)
            return repeats.stand_in(check, project, user, until)
        if standing.assigned is not None:
            return _begin_assigned(project, user, standing, standing.assigned, place, until)
        # Not after a look for a check that found none: eight statements are enough.
        if standing.drawn and standing.turn_brings == Turn.WORK and (task := _drawn(project, user, standing)):
            return _hand_out(project, user, standing, standing.place, task, until, moves=False)
        task = claiming.claim(project, user, place, standing.start)
        return _hand_out(project, user, standing, place, task, until) if task else None


def _lease_at_once(
    project: Project, user: User, standing: Standing, place: Place, until: datetime
) -> Assignment | None:
    """The same where every turn brings work, for somebody who has a cursor."""
    assert standing.cursor_id is not None
    common = {"cursor": standing.cursor_id, "turn": standing.turn, "epoch": standing.epoch, "until": until}
    common["gold_rank"] = standing.gold_rank
    assignment = None
    if standing.drawn:
        spot = draws.spot_of(project.pk, user.pk, standing.turn)
        probe = claiming.draw_parameters(project, user, standing.place.priority, spot)
        assignment = at_once.hand_out(probe, at=standing.place, drawn=True, **common)
    if assignment is None:
        probe = claiming.parameters(project, user, place, standing.start)
        assignment = at_once.hand_out(probe, at=place, drawn=False, **common)
    return assignment and _complete(assignment, project, user)


def _drawn(project: Project, user: User, standing: Standing) -> Task | None:
    """A task of the priority at which the cursor stands; on PostgreSQL the few looked at may all be locked, too."""
    spot = draws.spot_of(project.pk, user.pk, standing.turn)
    return claiming.draw(project, user, standing.place.priority, spot)


def _hand_out(
    project: Project, user: User, standing: Standing, place: Place, task: Task, until: datetime, *, moves: bool = True
) -> Assignment:
    """The claimed task as a lease. One that came back or was drawn lies anywhere, so the cursor stays for it."""
    gold_rank = task.rank if task.pool == Pool.GOLD else None
    if moves and task.pool == Pool.QUEUE and not task.reopened:
        place = Place(task.priority, task.rank, task.pk)
    _move_cursor(project, user, standing, place, gold_rank)
    return _assign(project, user, task, until)


def _move_cursor(project: Project, user: User, standing: Standing, place: Place, gold_rank: int | None = None) -> None:
    """Move the person's cursor to `place`, unless another request of theirs did so since their standing was read."""
    fields = {"epoch": standing.epoch, "priority": place.priority, "rank": place.rank, "task_id": place.task_id}
    fields["gold_rank"] = standing.gold_rank if gold_rank is None else gold_rank
    if standing.cursor_id is None:
        Cursor.objects.create(project=project, annotator=user, turn=1, **fields)
    elif not changed(MOVE, **fields, cursor=standing.cursor_id, turn=standing.turn):
        raise _NotMyTurn


def _assign(project: Project, user: User, task: Task, until: datetime) -> Assignment:
    """The lease itself: a new row, or the person's own one that had run out, with its draft and its sides."""
    may_be_theirs = task.reopened or task.pool == Pool.QUALIFICATION
    if may_be_theirs and (before := Assignment.objects.filter(task=task, annotator=user).first()):
        fields = {"state": LEASED, "lease_until": until, "leased_at": timezone.now()}
        if not Assignment.objects.filter(pk=before.pk, state=EXPIRED).update(**fields):
            raise _NotMyTurn
        before.state, before.lease_until, before.task = LEASED, until, task
        return _complete(before, project, user)
    shown = list(task.texts)
    random.shuffle(shown)
    assignment = Assignment(task=task, project=project, annotator=user, lease_until=until, shown=shown)
    LEASE.save(assignment)
    return _complete(assignment, project, user)


def _begin_assigned(
    project: Project, user: User, standing: Standing, pk: int, place: Place, until: datetime
) -> Assignment:
    """The first of the tasks that a lead gave to this person; its slot has been theirs since."""
    mine = Assignment.objects.filter(pk=pk, state=ASSIGNED)
    if not mine.update(state=LEASED, lease_until=until, leased_at=timezone.now()):
        raise _NotMyTurn
    _move_cursor(project, user, standing, place)
    assignment = Assignment.objects.select_related("task").get(pk=pk)
    return _complete(assignment, project, user)


def _take_up(assignment: Assignment, until: datetime) -> bool:
    """Whether a lease that had run out is held again: a slot was free and the row was still as it was read."""
    with write_transaction():
        # The task's row first, as in every path that may wait for it, so that two of them never wait for each other.
        if not take_slot(assignment.task_id):
            return False
        again = Assignment.objects.filter(pk=assignment.pk, state=EXPIRED).update(state=LEASED, lease_until=until)
        if not again:
            Task.objects.filter(pk=assignment.task_id, need__gt=0).update(open_slots=F("open_slots") + 1)
    return bool(again)


def _complete(assignment: Assignment, project: Project, user: User) -> Assignment:
    """The assignment with what a page needs at hand."""
    assignment.project, assignment.annotator = project, user
    assignment.task.project = project
    return assignment


def _later(until: datetime) -> Greatest:
    """A lease is never made shorter: an item that a reviewer sent back may wait for two weeks."""
    return Greatest(F("lease_until"), Value(until))
