"""The figures of the page "Labeling", ready to be drawn; remembered until somebody judges or imports."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from statistics import median
from typing import Any

from django.core.cache import cache
from django.db.models import Case, Count, Max, Value, When
from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from annotation.agreement import NotComparable, agreement
from annotation.day_chart import columns
from annotation.exporting import types_of
from annotation.models import Annotation, Kind, Project
from annotation.questions import STEP_LABELS, questions_of, step_of
from annotation.statistics import NEITHER, project_stats

REMEMBERED = 60  # seconds: what is taken back or returned shows after a minute
DAYS = 28
PACE_DAYS = 7
TYPE_WORDS = {
    "sft": "Prompts and answers, for SFT",
    "preference": "Chosen and rejected, for DPO and reward models",
    "binary": "Good or not, for KTO",
    "rating": "A mean per aspect",
    "ranking": "Orders of all responses",
    "raw": "Every judgment as it was given",
}


def of(project: Project, *, names: bool) -> dict[str, Any]:
    """The context of the dashboard; annotators have pseudonyms unless `names`."""
    last = Annotation.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    newest = project.tasks.aggregate(last=Max("pk"))["last"]
    key = f"dashboard:{project.pk}:{last}:{newest}:{names}"
    if (known := cache.get(key)) is None:
        known = _figures(project, names)
        cache.set(key, known, REMEMBERED)
    return dict(known) | {"exports": [(type_, TYPE_WORDS[type_]) for type_ in types_of(project.kind)]}


def _figures(project: Project, names: bool) -> dict[str, Any]:
    stats = project_stats(project, names=names, days=DAYS)
    times = [row["median_seconds"] for row in stats["annotators"] if row["median_seconds"] is not None]
    return {
        "stats": stats,
        "pace": _pace(stats),
        "days": columns(stats["per_day"]),
        "verdicts": _verdicts(project) if project.kind == Kind.PREFERENCE else None,
        "scales": _scales(project, stats["labels"]) if project.kind == Kind.RATING else [],
        "agreements": _agreements(project),
        "median_seconds": median(times) if times else None,
    }


def _pace(stats: dict[str, Any]) -> dict[str, Any]:
    """Judgements a day over the last week and the day on which the rest is done at that pace."""
    recent = stats["per_day"][-PACE_DAYS:]
    rate = sum(day["count"] for day in recent) / len(recent)
    wanted = stats["judgements"]["wanted"]
    left = round(wanted * (1 - stats["judgements"]["share"]))
    days = math.ceil(left / rate) if rate and left else None
    done_by = timezone.now().date() + timedelta(days=days) if days is not None and days < 3650 else None
    return {"rate": rate, "left": left, "done_by": done_by}


def _verdicts(project: Project) -> dict[str, Any]:
    """How often each step of the beam was chosen, A being what was shown first, and how often the first one won."""
    standing = Annotation.objects.standing().filter(project=project)
    neither = standing.filter(body__choice__in=NEITHER).annotate(choice=KeyTransform("choice", "body")).order_by()
    counts = Counter({str(choice): n for choice, n in neither.values_list("choice").annotate(n=Count("pk"))})
    chosen = standing.exclude(body__choice__in=NEITHER).exclude(shown=[]).order_by()
    sided = chosen.annotate(
        side=Case(When(body__choice=KeyTransform(0, "shown"), then=Value("a")), default=Value("b")),
        strength=KeyTransform("strength", "body"),
    )
    steps: Counter[int] = Counter({4: counts["tie"]})
    for side, strength, n in sided.values_list("side", "strength").annotate(n=Count("pk")):
        steps[step_of(side, int(strength or 0)) or 4] += n
    total = sum(steps.values()) + counts["both_bad"]
    most = max(steps.values(), default=0)
    rows = [
        {
            "step": step,
            "label": label,
            "count": steps[step],
            "share": _over(steps[step], total),
            "bar": _over(steps[step], most),
        }
        for step, label in STEP_LABELS.items()
    ]
    first, second = sum(steps[s] for s in (1, 2, 3)), sum(steps[s] for s in (5, 6, 7))
    return {
        "rows": rows,
        "total": total,
        "both_bad": counts["both_bad"],
        "first_share": _over(first, first + second) if first + second else None,
    }


def _scales(project: Project, labels: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """For each aspect how often each point was given, and the mean."""
    scales = []
    for aspect in questions_of(project)["aspects"]:
        given = {int(point): n for point, n in labels.get(aspect["name"], {}).items()}
        total, most = sum(given.values()), max(given.values(), default=0)
        points = range(1, int(aspect.get("points", 5)) + 1)
        rows = [{"point": p, "count": given.get(p, 0), "bar": _over(given.get(p, 0), most)} for p in points]
        mean = sum(p * n for p, n in given.items()) / total if total else None
        scales.append({"label": aspect["label"], "rows": rows, "mean": mean, "total": total})
    return scales


def _agreements(project: Project) -> list[dict[str, Any]]:
    """Agreement over pairs of votes, for each aspect of a rating; nothing where answers cannot be compared."""
    aspects = questions_of(project)["aspects"] if project.kind == Kind.RATING else [{"name": None, "label": "Verdict"}]
    found = []
    for aspect in aspects:
        try:
            found.append({"label": aspect["label"]} | agreement(project, aspect=aspect["name"]))
        except NotComparable:
            return []
    return [one for one in found if one["percent"]]


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
