"""How often a verdict is that of the others: one person's by week, and everybody's in the same projects beside it.

Only finished tasks count that two others judged, and no task with a known answer: a preference agrees when it names
the side of the others' median, a rating when it is at most a point from it, a ranking pair by pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet

from annotation import verdicts
from annotation.models import Annotation, Kind, Project, QualityReport, Response

OTHERS = 2  # so many others must have judged before one is compared with them
RATED_ALIKE = 1  # points from the others' median within which a rating agrees with it
SAMPLED = 300  # judgements of everybody in a week, the latest: a share is known to six points then
WEEKS = 12  # for which everybody's are worked out
AT_ONCE = 400  # tasks asked for in one statement

Share = tuple[int, int]  # comparisons that agree, and all of them
Others = dict[int, list[tuple[int, dict[str, Any]]]]


def comparable(rows: QuerySet[Annotation]) -> QuerySet[Annotation]:
    """Those of `rows` that can be compared with others, the latest first."""
    finished = rows.filter(task__done__gt=OTHERS, task__done__gte=F("task__need"), task__is_gold=False)
    return finished.exclude(kind=Kind.DEMONSTRATION).order_by("-created_at")


def by_week(rows: Iterable[Annotation]) -> dict[tuple[int, date], Share]:
    """{(project id, Monday): share} of these judgements, each compared with those of everybody else."""
    kept = list(rows)
    tasks = list({row.task_id for row in kept})
    others, orders = bodies_on(tasks), _orders(tasks)
    found: dict[tuple[int, date], Share] = {}
    for row in kept:
        said = [body for annotator, body in others.get(row.task_id, []) if annotator != row.annotator_id]
        middle = verdicts.middle(row.kind, said, orders[row.task_id]) if len(said) >= OTHERS else None
        if middle is None:
            continue
        day = row.created_at.astimezone(UTC).date()
        place = row.project_id, day - timedelta(days=day.weekday())
        like, of = verdicts.alike(row.kind, row.body, middle, orders[row.task_id], within=RATED_ALIKE)
        agree, counted = found.get(place, (0, 0))
        found[place] = agree + like, counted + of
    return {place: share for place, share in found.items() if share[1]}


def of_everybody(project: Project, today: date) -> dict[str, list[int]]:
    """{Monday: [agreeing, compared]} of the latest judgements of each of the last weeks, for the project's report."""
    if project.kind == Kind.DEMONSTRATION:
        return {}
    monday = today - timedelta(days=today.weekday())
    rows: list[Annotation] = []
    for week in range(WEEKS):
        first = monday - timedelta(weeks=week)
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        standing = Annotation.objects.standing().filter(project=project, created_at__gte=start)
        rows += comparable(standing.filter(created_at__lt=start + timedelta(weeks=1)))[:SAMPLED]
    return {week.isoformat(): list(share) for (_, week), share in by_week(rows).items()}


def beside(mine: dict[tuple[int, date], Share]) -> dict[date, float]:
    """Everybody's share in each of one's weeks, each project counting as often as one was compared there.

    A week is left out when the report of one of its projects does not tell it.
    """
    reports = QualityReport.objects.filter(project__in={project for project, _ in mine}, key="")
    known = dict(reports.values_list("project", "data__alike"))
    sums: dict[date, list[float]] = {}
    for (project, week), (_, of) in mine.items():
        like, counted = (known.get(project) or {}).get(week.isoformat(), (0, 0))
        share = like / counted if counted else float("nan")
        had = sums.setdefault(week, [0.0, 0])
        had[0], had[1] = had[0] + of * share, had[1] + of
    return {week: total / of for week, (total, of) in sums.items() if total == total}


def bodies_on(tasks: list[int]) -> Others:
    """{task id: [(annotator id, body)]} of the judgements that stand, in the order in which they were made."""
    found: Others = {}
    for start in range(0, len(tasks), AT_ONCE):
        rows = Annotation.objects.standing().filter(task__in=tasks[start : start + AT_ONCE]).order_by("task", "pk")
        for task, annotator, body in rows.values_list("task", "annotator", "body"):
            found.setdefault(task, []).append((annotator, body))
    return found


def _orders(tasks: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {task: [] for task in tasks}
    for start in range(0, len(tasks), AT_ONCE):
        rows = Response.objects.filter(task__in=tasks[start : start + AT_ONCE]).order_by("pk")
        for task, pk in rows.values_list("task", "pk"):
            found[task].append(pk)
    return found
