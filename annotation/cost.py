"""What a project's queue rules cost: judgements still to come, the hours they take, and when they are done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from statistics import median
from typing import Any

from django.core.cache import cache
from django.db.models import Case, Count, F, Value, When
from django.utils import timezone

from annotation import draws, qualifying
from annotation.models import Annotation, Kind, Pool, Project
from annotation.quality import reports

LOOKED_AT = 2000  # latest judgements, in which times are looked for
TIMED = 200  # of the latest judgements, whose median is what one more will take
ASSUMED = {Kind.PREFERENCE: 45.0, Kind.RATING: 60.0, Kind.RANKING: 90.0, Kind.DEMONSTRATION: 420.0}  # seconds, a guess
PACE_DAYS = 14  # two weeks, so that week-ends count for what they are
REMEMBERED = 60  # seconds; the tasks that wait are counted at most once in them, whatever the form says meanwhile
RULES = ("overlap", "agreement_share", "agreement_overlap", "gold_share", "repeat_share", "qualification_size")


@dataclass(frozen=True)
class Cost:
    """The work that waits under some rules; `seconds` for one judgement is a guess where it is `assumed`."""

    items: int
    judgements: int
    checks: int  # gold, repeats and qualification, on top of the judgements
    seconds: float
    assumed: bool
    per_day: float  # judgements, over the last two weeks
    counted: bool = True  # else the worker is at it and nothing is known yet

    @property
    def total_seconds(self) -> float:
        return (self.judgements + self.checks) * self.seconds

    @property
    def days(self) -> int | None:
        """Days until all of it is done at the pace of the last two weeks; None where there is no pace."""
        return ceil((self.judgements + self.checks) / self.per_day) if self.per_day else None


def of(project: Project, **rules: Any) -> Cost:
    """The cost of `project` as it is, or with some of RULES changed and not saved."""
    asked = {name: getattr(project, name) for name in RULES} | rules
    sampled = round(asked["agreement_share"] * draws.LOTS)
    items = judgements = 0
    waiting = _unfinished(project, sampled)
    for in_sample, done, count in waiting or ():
        items += count
        judgements += count * max(0, asked["agreement_overlap" if in_sample else "overlap"] - done)
    work = max(0.01, 1 - asked["gold_share"] - asked["repeat_share"])
    newcomers = qualifying.members_qualifying(project) if asked["qualification_size"] else 0
    checks = round(judgements * (1 - work) / work) + newcomers * asked["qualification_size"]
    seconds = usual_seconds(project)
    each = seconds or ASSUMED[Kind(project.kind)]
    return Cost(items, judgements, checks, each, seconds is None, _per_day(project), waiting is not None)


def _per_day(project: Project) -> float:
    """Judgements a day over the last two weeks."""
    if not reports.is_small(project):
        days = reports.of(project).data.get("stats", {}).get("per_day", [])
        return sum(day["count"] for day in days[-PACE_DAYS:]) / PACE_DAYS
    recent = Annotation.objects.filter(project=project, created_at__gte=timezone.now() - timedelta(days=PACE_DAYS))
    return recent.count() / PACE_DAYS


def _unfinished(project: Project, sampled: int) -> list[tuple[bool, int, int]] | None:
    """(in the agreement sample, judgements it has, how many such tasks) of the tasks that are not finished.

    A large project's are those of its report, with the sample's share of each, as lots are drawn evenly; None until
    there is one.
    """
    if not reports.is_small(project):
        told = reports.of(project).data.get("inventory", {}).get("unfinished")
        if told is None:
            return None
        parts = [(done, count, round(count * sampled / draws.LOTS)) for done, count in told]
        return [row for done, n, inside in parts for row in ((True, done, inside), (False, done, n - inside))]
    key = f"unfinished:{project.pk}:{sampled}"
    if (known := cache.get(key)) is None:
        waiting = project.tasks.filter(pool=Pool.QUEUE, done__lt=F("need")).order_by()
        sample = Case(When(lot__lt=sampled, then=Value(True)), default=Value(False))
        grouped = waiting.values(sample=sample, had=F("done"))
        known = list(grouped.annotate(number=Count("pk")).values_list("sample", "had", "number"))
        cache.set(key, known, REMEMBERED)
    return list(known)


def usual_seconds(project: Project) -> float | None:
    """The middle of what the latest judgements took; None where nobody's time is known."""
    # Not those with a time alone: among a million imported judgements there may be none.
    latest = project.annotations.order_by("-pk").values_list("seconds", flat=True)[:LOOKED_AT]
    known = [float(value) for value in latest if value and value > 0][:TIMED]
    return median(known) if known else None
