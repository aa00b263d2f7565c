"""One person's own figures and answers: how much, how fast, how often like the others, and what may still change.

What others said is shown for finished tasks alone, so that nobody judges an open one with their verdicts in mind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median, quantiles
from typing import Any

from django.core.cache import cache
from django.db.models import Count, DateField, QuerySet, Sum
from django.db.models.functions import Cast
from django.utils import timezone

from annotation import alikeness, cost, freezing, gold_feedback, intervals, progress, qualifying, wording
from annotation.models import Annotation, Assignment, Project, User
from annotation.models.people import JUDGES

DAYS = 28
WEEK = 7
COMPARED = 400  # one's latest judgements of finished tasks
LOOKED_AT = 2000  # one's latest judgements, among which those are looked for, and times that are known
COMPARED_SECONDS = 300
MOST_PROJECTS = 20
MOST_OPEN = 1000


@dataclass(frozen=True)
class Answer:
    """One row of the history."""

    annotation: Annotation
    words: tuple[str, str]
    others: list[str]  # what they said, once the task is finished; no names
    judged_by: int
    wanted: int
    frozen_in: str
    gold: bool | None  # a known answer that one was told of: whether it was this one

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


def history(user: User, show: str) -> list[int] | QuerySet[Annotation, int]:
    """The ids of one's answers, newest first, as `rows` takes them.

    All of them, those that are "open" to a change, or the "gold" ones one was told of. Which of them may change is
    asked of the latest MOST_OPEN ones.
    """
    ordered = standing(user).order_by("-created_at", "-pk")
    if show == "gold":
        return ordered.filter(task__in=gold_feedback.told(user).values("task")).values_list("pk", flat=True)
    if show == "open":
        judged = ordered.filter(project__in=Project.objects.with_role(user, JUDGES))
        latest = list(judged.only("annotator", "project", "created_at")[:MOST_OPEN])
        frozen = freezing.holders(latest)
        return [one.pk for one in latest if one.pk not in frozen]
    return ordered.values_list("pk", flat=True)


def rows(ids: Iterable[int]) -> list[Annotation]:
    """A page of one's history with what its rows tell, in the order of the ids."""
    found = Annotation.objects.select_related("project", "task").in_bulk(list(ids))
    return [found[pk] for pk in ids if pk in found]


def pace(user: User) -> dict[str, Any]:
    """Judgements a day over four weeks, those of today and of this week, and the time they took."""
    now = timezone.now()
    first = now.date() - timedelta(days=DAYS - 1)
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    recent = standing(user).filter(created_at__gte=since)
    by_day = recent.annotate(day=Cast("created_at", DateField())).order_by().values("day")  # in UTC, as all of it is
    found = {row["day"]: row for row in by_day.annotate(count=Count("pk"), spent=Sum("seconds"))}
    days = [first + timedelta(days=offset) for offset in range(DAYS)]
    week = [found[day] for day in days[-WEEK:] if day in found]
    latest = recent.order_by("-created_at").values_list("seconds", flat=True)[:LOOKED_AT]
    times = [float(value) for value in latest if value is not None][:COMPARED]
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
    """How often one's verdict is that of the others, with its interval and by week; None before one can be compared.

    "everybody" and "beside" (by week) are the same share over everybody's verdicts in the same projects.
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
    """The projects one judges in: what is done and left there, how long that takes, and the drafts that wait."""
    projects = list(Project.objects.with_role(user, JUDGES).filter(is_archived=False).order_by("name")[:MOST_PROJECTS])
    own = Assignment.objects.filter(annotator=user, project__in=projects).order_by()
    done = dict(own.filter(state=Assignment.State.SUBMITTED).values_list("project").annotate(n=Count("pk")))
    held = own.filter(state=Assignment.State.LEASED)
    drafts = dict(held.filter(returned="").exclude(draft=None).values_list("project").annotate(n=Count("pk")))
    paces = _paces(user)
    rows = []
    for project in projects:
        mine, (left, more) = done.get(project.pk, 0), progress.left(project, user)
        each = paces.get(project.pk) or cost.usual_seconds(project)
        rows.append(
            {
                "project": project,
                "done": mine,
                "left": left,
                "more": more,
                "share": mine / (mine + left) if mine and left is not None else 0.0,
                "seconds": left * each if each and left else None,
                "drafts": drafts.get(project.pk, 0),
            }
        )
    return sorted(
        rows, key=lambda row: (not row["left"], row["left"] == 0, -row["drafts"], -row["done"], row["project"].name)
    )


def goal(projects: list[Project], user: User) -> tuple[int, int] | None:
    """Today's judgements in those of `projects` that have a daily goal, and the sum of these; None where none has.

    More than one asks for makes up for nothing in another.
    """
    asking = [project for project in projects if project.daily_goal]
    if not asking:
        return None
    done = dict(progress.today(user, asking).order_by().values_list("project").annotate(n=Count("pk")))
    return sum(min(done.get(one.pk, 0), one.daily_goal) for one in asking), sum(one.daily_goal for one in asking)


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
    others = alikeness.bodies_on(finished)
    gold = gold_feedback.told(user).filter(task__in=[row.task_id for row in page])
    right = dict(gold.values_list("task", "correct")) if page else {}
    rows = []
    for row in page:
        row.project.my_role = "manager" if user.is_superuser else roles.get(row.project_id, "")
        wanted = _wanted(row)
        # A hidden check may have been judged by everybody: no more of them are told than of any other item.
        said = [body for annotator, body in others.get(row.task_id, []) if annotator != user.pk]
        said = said if row.task.need else said[: wanted - 1]
        enough = said if len(said) >= alikeness.OTHERS else []
        told = [wording.in_words(row.kind, body, row.shown)[0] for body in enough]
        name = frozen.get(row.pk, "")
        known = right.get(row.task_id)
        rows.append(Answer(row, wording.answer_in_words(row), told, min(row.task.done, wanted), wanted, name, known))
    return rows


def _wanted(annotation: Annotation) -> int:
    """How many judgements the item wants; a hidden check, which wants none of its own, looks like any other item."""
    return annotation.task.need or annotation.project.overlap


def _agreement(user: User) -> dict[str, Any] | None:
    own = standing(user).order_by("-created_at").values_list("created_at", flat=True)
    earliest = own[LOOKED_AT - 1 : LOOKED_AT].first()
    recent = standing(user).filter(created_at__gte=earliest) if earliest else standing(user)
    mine = alikeness.by_week(alikeness.comparable(recent)[:COMPARED])
    if not mine:
        return None
    weeks: dict[date, tuple[int, int]] = {}
    for (_, monday), (like, of) in mine.items():
        agree, counted = weeks.get(monday, (0, 0))
        weeks[monday] = agree + like, counted + of
    counted = sum(of for _, of in weeks.values())
    whole = intervals.wilson(sum(like for like, _ in weeks.values()), counted) or {}
    beside = alikeness.beside(mine)
    everybody = (
        sum(beside[week] * of for week, (_, of) in weeks.items()) / counted if len(beside) == len(weeks) else None
    )
    told = {week.isoformat(): share for week, share in beside.items()}
    return whole | {"of": counted, "weeks": _weekly(weeks), "beside": told, "everybody": everybody}


def _weekly(weeks: dict[date, tuple[int, int]]) -> list[dict[str, Any]]:
    """The share of each week in the shape of a report's parts, oldest first."""
    return [
        {"from": monday.isoformat(), "days": WEEK, "tasks": of, "measures": {"alike": intervals.wilson(like, of)}}
        for monday, (like, of) in sorted(weeks.items())
    ]


def _paces(user: User) -> dict[int, float]:
    """{project id: one's median seconds there}, over the latest judgements."""
    times: dict[int, list[float]] = {}
    # Not those with a time alone: among many imported judgements there may be none.
    latest = standing(user).order_by("-created_at").values_list("project", "seconds")[:LOOKED_AT]
    for project, seconds in [(project, seconds) for project, seconds in latest if seconds][:COMPARED]:
        times.setdefault(project, []).append(float(seconds))
    return {project: median(found) for project, found in times.items()}
