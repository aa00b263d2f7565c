"""Judgements of somebody who turned out to be unreliable, set aside so that others judge those tasks again."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Case, F, QuerySet, SmallIntegerField, When
from django.utils import timezone
from django.utils.translation import gettext

from annotation import disputes, repeats, tasks
from annotation.models import Annotation, Assignment, GoldResult, Membership, Pool, Project, Task, User
from annotation.models.tasks import CHECKS, TaskQuerySet
from annotation.writes import write_transaction

SUBMITTED, SET_ASIDE = Assignment.State.SUBMITTED, Assignment.State.SET_ASIDE
BATCH = 500  # judgements in one transaction, so that annotators never wait long behind it


def unreliable_since(member: Membership) -> datetime | None:
    """When the gold tasks began over which this person was found wanting; None when there are none to tell by."""
    window = member.project.gold_window
    results = GoldResult.objects.filter(project=member.project_id, annotator=member.user_id, qualification=False)
    moments = list(results.order_by("-id").values_list("created_at", flat=True)[:window])
    return moments[-1] if moments else None


def own_work(project: Project, user: User, *, since: datetime | None = None) -> QuerySet[Annotation]:
    """The judgements of `user` that `set_aside` would take: those made from `since` on, or all."""
    own = Annotation.objects.standing().filter(project=project, annotator=user).exclude(task__pool__in=CHECKS)
    return own if since is None else own.filter(created_at__gte=since)


def set_aside(project: Project, user: User, *, since: datetime | None = None) -> int:
    """How many of `user`'s judgements, those made from `since` on or all, wait for somebody else now.

    They stay as history and in what was cut from them, count nowhere else, and never come back to the same person.
    """
    own, count, last = own_work(project, user, since=since), 0, 0
    while found := list(own.filter(pk__gt=last).order_by("pk").values_list("pk", "task")[:BATCH]):
        with write_transaction():
            count += _set_aside(user, [task for _, task in found])
        disputes.recount(project, {task for _, task in found})
        last = found[-1][0]
    if count:
        tasks.restart_cursors(project)
    return count


def put_back(rows: list[int], project: Project) -> int:
    """How many tasks that left the queue because people skipped them are in it again, with a clean slate."""
    waiting = project.tasks.filter(pk__in=rows, pool__in=(Pool.REVIEW, Pool.DROPPED))
    with write_transaction():
        changed = waiting.update(pool=Pool.QUEUE, skips=0)
        if changed:
            tasks.restart_cursors(project)
    return changed


def drop(rows: list[int], project: Project) -> int:
    """How many tasks that wait for a reviewer nobody will judge now."""
    return project.tasks.filter(pk__in=rows, pool=Pool.REVIEW).update(pool=Pool.DROPPED)


def close(rows: TaskQuerySet) -> int:
    """How many of these tasks are offered to nobody any more, because what they are for has ended.

    An untouched one leaves the queue as a dropped one does, so that `put_back` offers it again; of the others the
    judgements that are there or under way are enough.
    """
    offered = rows.open()
    with write_transaction():
        closed = offered.filter(open_slots=F("need")).update(pool=Pool.DROPPED)
        begun = offered.filter(open_slots__lt=F("need"))
        return closed + begun.update(need=F("need") - F("open_slots"), open_slots=0)


class NotWaiting(Exception):
    """The task does not wait for a reviewer, or not for this one."""


def take(task: Task, user: User) -> None:
    """Lease a task that people skipped out of the queue to the reviewer, whose judgement is the last that it wants.

    It is shown to them first; giving it back opens it to everybody.
    """
    until = timezone.now() + timedelta(minutes=task.project.lease_minutes)
    held = {"state": Assignment.State.LEASED, "lease_until": until, "leased_at": task.created_at}
    mine = Assignment.objects.filter(task=task, annotator=user)
    state = mine.values_list("state", flat=True).first()
    if state in (SUBMITTED, SET_ASIDE):
        raise NotWaiting(gettext("You judged this item already, so somebody else has to."))
    shown = tasks.shuffled(list(task.responses.values_list("pk", flat=True)))
    waiting = Task.objects.filter(pk=task.pk, pool__in=(Pool.REVIEW, Pool.DROPPED))
    theirs = state in (Assignment.State.LEASED, Assignment.State.ASSIGNED)  # its slot is taken already
    last = F("need") - F("open_slots") + (0 if theirs else 1)
    with write_transaction():
        taken = waiting.update(pool=Pool.QUEUE, skips=0, need=last, open_slots=0)
        if taken and not mine.update(**held):
            Assignment.objects.create(task=task, project=task.project, annotator=user, shown=shown, **held)
    if not taken:
        raise NotWaiting(gettext("Somebody else has taken this item or put it back."))


def _set_aside(user: User, task_ids: list[int]) -> int:
    """The seats first, as in a submit or an undo of the same task, so that the two never wait for each other."""
    seats = Assignment.objects.filter(task__in=task_ids, annotator=user, state=SUBMITTED)
    judged = list(seats.select_for_update().order_by("pk").values_list("task", flat=True))
    seats.filter(task__in=judged).update(state=SET_ASIDE)
    standing = Annotation.objects.standing().filter(task__in=judged, annotator=user)
    repeats.drop(standing)
    standing.update(status=Annotation.Status.SET_ASIDE)
    # One that was judged more often than it needs to be, as an import may bring it, wants nobody else.
    again = When(done__lte=F("need"), open_slots__lt=F("need"), then=F("open_slots") + 1)
    open_slots = Case(again, default=F("open_slots"), output_field=SmallIntegerField())
    return Task.objects.filter(pk__in=judged, done__gt=0).update(done=F("done") - 1, open_slots=open_slots)
