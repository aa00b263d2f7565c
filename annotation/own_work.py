"""One person's own figures and answers: how much, how fast, how often like the others, and what may still change.

What others said is shown for finished tasks alone, so that nobody judges an open one with their verdicts in mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from statistics import quantiles
from typing import Any

from django.core.cache import cache
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from annotation import freezing, intervals, qualifying, verdicts, wording
from annotation.models import Annotation, Assignment, Project, Response, User
from annotation.models.people import JUDGES

DAYS = 28
WEEK = 7
OTHERS = 2  # so many others must have judged before one is compared with them
COMPARED = 400  # one's latest judgements of finished tasks
COMPARED_SECONDS = 300
RATED_ALIKE = 1  # points from the others' median within which a rating agrees with it
MOST_PROJECTS = 20


@dataclass(frozen=True)
class Answer:
    """One row of the history."""

    annotation: Annotation
    words: tuple[str, str]
    others: list[str]  # what they said, once the task is finished; no names
    judged_by: int
    wanted: int
    frozen_in: str

    @property
    def may_change(self) -> bool:
        return not self.frozen_in and self.annotation.project.my_role in JUDGES


@dataclass(frozen=True)
class Returned:
    """One judgement that a reviewer sent back."""

    annotation: Annotation
    words: tuple[str, str]
    comment: str


def standing(user: User) -> QuerySet[Annotation]:
    return user.annotations.standing()


def pace(user: User) -> dict[str, Any]:
    """Judgements a day over four weeks, those of today and of this week, and the time they took."""
    now = timezone.now()
    first = now.date() - timedelta(days=DAYS - 1)
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    recent = standing(user).filter(created_at__gte=since)
    rows = recent.annotate(day=TruncDate("created_at")).order_by().values("day")
    found = {row["day"]: row for row in rows.annotate(count=Count("pk"), spent=Sum("seconds"))}
    days = [first + timedelta(days=offset) for offset in range(DAYS)]
    week = [found[day] for day in days[-WEEK:] if day in found]
    spent = recent.exclude(seconds=None).order_by("-created_at").values_list("seconds", flat=True)
    times = [float(value) for value in spent[:COMPARED] if value is not None]
    middle_half: list[float | None] = [None] * 3
    if times:
        middle_half = list(quantiles(times * 2 if len(times) == 1 else times, n=4, method="inclusive"))
    return {
        "per_day": [{"day": day.isoformat(), "count": found.get(day, {"count": 0})["count"]} for day in days],
        "today": found.get(days[-1], {"count": 0})["count"],
        "week": sum(row["count"] for row in week),
        "week_seconds": sum(row["spent"] or 0 for row in week),
        "times": dict(zip(("low", "middle", "high"), middle_half, strict=True)),
    }


def agreement(user: User) -> dict[str, Any] | None:
    """How often one's verdict is that of the others, with its interval; None before there is anything to compare.

    Only finished tasks count that two others judged: a preference agrees when it names the side of the others' median,
    a rating when it is at most a point from it, a ranking pair by pair.
    """
    key = f"own-agreement:{user.pk}"
    if (known := cache.get(key)) is None:
        known = _agreement(user) or {}
        cache.set(key, known, COMPARED_SECONDS)
    return known or None


def qualifications(user: User) -> list[dict[str, Any]]:
    """What came of one's qualifications: right answers, how many there were and were needed, and which try it was."""
    seats = user.memberships.filter(qualification_done__gt=0, project__qualification_size__gt=0)
    return [
        {
            "project": seat.project,
            "right": seat.qualification_right,
            "done": seat.qualification_done,
            "size": seat.project.qualification_size,
            "needed": qualifying.needed(seat.project),
            "try": seat.qualification_try,
            "state": "failed" if seat.state == seat.State.FAILED else "passed" if seat.qualified_at else "",
        }
        for seat in seats.select_related("project").order_by("-qualified_at", "-pk")[:MOST_PROJECTS]
    ]


def waiting(user: User) -> list[dict[str, Any]]:
    """The projects one judges in, with what is done and whether a half-made answer waits there."""
    projects = list(Project.objects.with_role(user, JUDGES).filter(is_archived=False).order_by("name")[:MOST_PROJECTS])
    own = Assignment.objects.filter(annotator=user, project__in=projects).order_by()
    done = dict(own.filter(state=Assignment.State.SUBMITTED).values_list("project").annotate(n=Count("pk")))
    held = own.filter(state=Assignment.State.LEASED)
    drafts = dict(held.filter(returned="").exclude(draft=None).values_list("project").annotate(n=Count("pk")))
    rows = []
    for project in projects:
        total = _total(project)
        mine = done.get(project.pk, 0)
        rows.append(
            {
                "project": project,
                "done": mine,
                "total": total,
                "share": min(1.0, mine / total) if total else 0.0,
                "drafts": drafts.get(project.pk, 0),
            }
        )
    return sorted(rows, key=lambda row: (-row["drafts"], -row["done"], row["project"].name))


def returned(user: User) -> list[Returned]:
    """The judgements that wait for a second look, the oldest first."""
    projects = Project.objects.with_role(user, JUDGES)
    held = Assignment.objects.filter(annotator=user, project__in=projects, state=Assignment.State.LEASED)
    comments = dict(held.exclude(returned="").values_list("task", "returned")[:100])
    rows = Annotation.objects.filter(annotator=user, task__in=comments, status=Annotation.Status.RETURNED)
    latest = {row.task_id: row for row in rows.select_related("task", "project").order_by("pk")}
    return [Returned(row, wording.answer_in_words(row), comments[row.task_id]) for row in latest.values()]


def answers(page: list[Annotation], user: User) -> list[Answer]:
    """Rows for these annotations of one's own, with what is known about each."""
    roles = dict(user.memberships.values_list("project", "role"))
    frozen = freezing.holders(page)
    finished = [row.task_id for row in page if row.task.done >= _wanted(row)]
    others = _others(finished, user)
    rows = []
    for row in page:
        row.project.my_role = "manager" if user.is_superuser else roles.get(row.project_id, "")
        said = others.get(row.task_id, [])
        told = [wording.in_words(row.kind, body, row.shown)[0] for body in said] if len(said) >= OTHERS else []
        name = frozen.get(row.pk, "")
        rows.append(Answer(row, wording.answer_in_words(row), told, row.task.done, _wanted(row), name))
    return rows


def _wanted(annotation: Annotation) -> int:
    """How many judgements the item wants; a hidden check, which wants none of its own, looks like any other item."""
    return annotation.task.need or annotation.project.overlap


def _agreement(user: User) -> dict[str, Any] | None:
    comparable = (
        standing(user).filter(task__done__gt=OTHERS, task__done__gte=F("task__need")).exclude(kind="demonstration")
    )
    mine = list(comparable.order_by("-created_at").values_list("task", "kind", "body", "created_at")[:COMPARED])
    tasks = [task for task, *_ in mine]
    others, orders = _others(tasks, user), _orders(tasks)
    weeks: dict[date, tuple[int, int]] = {}
    for task, kind, body, when in mine:
        said = others.get(task, [])
        middle = verdicts.middle(kind, said, orders[task]) if len(said) >= OTHERS else None
        if middle is not None:
            monday = when.date() - timedelta(days=when.weekday())
            like, of = verdicts.alike(kind, body, middle, orders[task], within=RATED_ALIKE)
            agree, counted = weeks.get(monday, (0, 0))
            weeks[monday] = agree + like, counted + of
    counted = sum(of for _, of in weeks.values())
    whole = intervals.wilson(sum(like for like, _ in weeks.values()), counted)
    return (whole or {}) | {"of": counted, "weeks": _weekly(weeks)} if counted else None


def _weekly(weeks: dict[date, tuple[int, int]]) -> list[dict[str, Any]]:
    """The share of each week in the shape of a report's parts, oldest first."""
    return [
        {"from": monday.isoformat(), "days": WEEK, "tasks": of, "measures": {"alike": intervals.wilson(like, of)}}
        for monday, (like, of) in sorted(weeks.items())
        if of
    ]


def _others(tasks: list[int], user: User) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for start in range(0, len(tasks), COMPARED):
        rows = Annotation.objects.standing().filter(task__in=tasks[start : start + COMPARED]).exclude(annotator=user)
        for task, body in rows.order_by("task", "pk").values_list("task", "body"):
            found.setdefault(task, []).append(body)
    return found


def _orders(tasks: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {task: [] for task in tasks}
    for task, pk in Response.objects.filter(task__in=tasks).order_by("pk").values_list("task", "pk"):
        found[task].append(pk)
    return found


def _total(project: Project) -> int:
    """How many tasks there are, at most five minutes old; the judging page remembers the same number."""
    key = f"tasks:{project.pk}"
    if (total := cache.get(key)) is None:
        total = project.tasks.count()
        cache.set(key, total, COMPARED_SECONDS)
    return int(total)
