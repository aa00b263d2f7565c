"""How far a project is, what people answer, and how each of them compares with the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from statistics import median
from typing import Any

from django.db.models import Case, Count, F, Q, Sum, Value, When
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Least, TruncDate
from django.utils import timezone

from annotation import forecast, intervals
from annotation.exporting import pseudonym
from annotation.models import Annotation, Assignment, Kind, Pool, Project, User
from annotation.questions import STEP_LABELS, questions_of, step_of

NEITHER = ("tie", "both_bad")


def project_stats(project: Project, *, names: bool = True, days: int = 30) -> dict[str, Any]:
    """Progress, throughput by day, how often each answer was given, and one row for each annotator.

    Without `names` the annotators have pseudonyms. Shares come with their 95 % intervals.
    """
    return named(figures(project, days=days), project, names=names)


def figures(project: Project, *, days: int, annotators: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The same with the ids of accounts for names; `annotators` are rows that somebody has worked out already."""
    standing = Annotation.objects.standing().filter(project=project)
    return {
        "kind": project.kind,
        **_progress(project),
        "per_day": _per_day(project, standing, days),
        "labels": _labels(project, standing),
        "verdicts": _verdicts(standing) if project.kind == Kind.PREFERENCE else None,
        "annotators": _annotators(project, standing) if annotators is None else annotators,
    }


def named(stats: dict[str, Any], project: Project, *, names: bool) -> dict[str, Any]:
    """The figures with people's names, or pseudonyms, for the ids of their accounts."""
    called = callings(project, [row["annotator"] for row in stats["annotators"]], names=names)
    rows = [row | called[row["annotator"]] for row in stats["annotators"] if row["annotator"] in called]
    return stats | {"annotators": sorted(rows, key=lambda row: (-row["count"], row["annotator"]))}


def left_of(stats: dict[str, Any]) -> int:
    """How many judgements are still wanted."""
    return round(stats["judgements"]["wanted"] * (1 - stats["judgements"]["share"]))


def forecast_of(stats: dict[str, Any]) -> dict[str, Any] | None:
    """The day on which the rest is done at the pace of the last days, with its interval; None without a pace."""
    counts = [day["count"] for day in stats["per_day"]]
    found = forecast.of(counts, left_of(stats), timezone.now().date())
    return asdict(found) if found else None


def callings(project: Project, ids: Iterable[int], *, names: bool) -> dict[int, dict[str, Any]]:
    """How each account is called here: {"annotator": name or pseudonym, "simulated": bool}."""
    people = User.objects.filter(pk__in=set(ids)).values_list("pk", "username", "is_simulated")
    return {
        pk: {
            "annotator": username if names else pseudonym(project, pk, simulated=simulated),
            "simulated": simulated,
        }
        for pk, username, simulated in people
    }


def inventory(project: Project) -> dict[str, Any]:
    """Standing judgements by version of the guidelines, by its id as JSON has it, items that check people, and open
    ones; "unfinished" has [judgements there, items] of those of the queue that are not finished."""
    standing = Annotation.objects.standing().filter(project=project).order_by()
    made_under = standing.exclude(guideline=None).values_list("guideline").annotate(n=Count("pk"))
    checks = project.tasks.filter(is_gold=True).aggregate(
        gold=Count("pk", filter=~Q(pool=Pool.QUALIFICATION)),
        qualification=Count("pk", filter=Q(pool=Pool.QUALIFICATION)),
    )
    queued = project.tasks.filter(pool=Pool.QUEUE).order_by()
    unfinished = queued.filter(done__lt=F("need")).values_list("done").annotate(n=Count("pk"))
    return {
        "guidelines": {str(pk): n for pk, n in made_under},
        "open": queued.filter(open_slots__gt=0).count(),
        "unfinished": [list(row) for row in unfinished],
        **checks,
    }


def _progress(project: Project) -> dict[str, Any]:
    counted = project.tasks.wanted().aggregate(
        total=Count("pk"),
        finished=Count("pk", filter=Q(done__gte=F("need"))),
        open=Count("pk", filter=Q(open_slots__gt=0)),
        wanted=Sum("need"),
        useful=Sum(Least("done", "need")),
        judged=Sum("done"),
    )
    wanted, useful = counted["wanted"] or 0, counted["useful"] or 0
    return {
        "tasks": {name: counted[name] for name in ("total", "finished", "open")},
        "judgements": {"done": counted["judged"] or 0, "wanted": wanted, "share": useful / wanted if wanted else 0.0},
    }


def _per_day(project: Project, standing: Any, days: int) -> list[dict[str, Any]]:
    """Judgements on each of the last `days` days, those with a flag among them, and skips; quiet days too, in UTC."""
    today = timezone.now().date()
    first = today - timedelta(days=days - 1)
    flagged = Count("pk", filter=Q(body__flags__0__isnull=False))
    recent = standing.filter(created_at__date__gte=first).annotate(day=TruncDate("created_at"))
    judged = recent.order_by().values("day").annotate(count=Count("pk"), flagged=flagged)
    found = {row["day"]: row for row in judged.values("day", "count", "flagged")}
    seats = Assignment.objects.filter(project=project, state=Assignment.State.SKIPPED, leased_at__date__gte=first)
    skips = seats.annotate(day=TruncDate("leased_at")).order_by().values("day").annotate(n=Count("pk"))
    skipped = dict(skips.values_list("day", "n"))
    nothing = {"count": 0, "flagged": 0}
    dates = [first + timedelta(days=offset) for offset in range(days)]
    return [{**found.get(day, nothing), "skipped": skipped.get(day, 0), "day": day.isoformat()} for day in dates]


def _labels(project: Project, standing: Any) -> dict[str, Any]:
    """Preference: how often a side was preferred and how strongly, a tie, neither; rating: each aspect's points."""
    if project.kind == Kind.PREFERENCE:
        rows = standing.filter(body__choice__in=NEITHER).annotate(choice=KeyTransform("choice", "body"))
        neither = dict(rows.order_by().values_list("choice").annotate(Count("pk")))
        strengths = _counts(standing.exclude(body__choice__in=NEITHER), "strength", "body")
        return {
            "preferred": standing.count() - sum(neither.values()),
            **{word: neither.get(word, 0) for word in NEITHER},
            "strengths": strengths,
        }
    if project.kind == Kind.RATING:
        names = [aspect["name"] for aspect in questions_of(project)["aspects"]]
        return {name: _counts(standing, name, KeyTransform("ratings", "body")) for name in names}
    return {project.kind: standing.count()}


def _verdicts(standing: Any) -> dict[str, Any]:
    """How often each step of the beam was chosen, A being what was shown first, and "both bad".

    Imported judgements know no order, so none of them is here: their ties alone would tell a wrong story.
    """
    neither = (
        standing.exclude(shown=[])
        .filter(body__choice__in=NEITHER)
        .annotate(choice=KeyTransform("choice", "body"))
        .order_by()
    )
    counts = Counter({str(choice): n for choice, n in neither.values_list("choice").annotate(n=Count("pk"))})
    chosen = standing.exclude(body__choice__in=NEITHER).exclude(shown=[]).order_by()
    sided = chosen.annotate(
        side=Case(When(body__choice=KeyTransform(0, "shown"), then=Value("a")), default=Value("b")),
        strength=KeyTransform("strength", "body"),
    )
    steps: Counter[int] = Counter({4: counts["tie"]})
    for side, strength, n in sided.values_list("side", "strength").annotate(n=Count("pk")):
        steps[step_of(side, int(strength or 0)) or 4] += n
    return {"steps": {str(step): steps[step] for step in STEP_LABELS}, "both_bad": counts["both_bad"]}


def _counts(rows: Any, key: str, inside: Any) -> dict[str, int]:
    found = rows.annotate(answer=KeyTransform(key, inside)).order_by().values_list("answer").annotate(n=Count("pk"))
    return {str(answer): n for answer, n in sorted(found, key=lambda pair: str(pair[0])) if answer is not None}


def _annotators(project: Project, standing: Any) -> list[dict[str, Any]]:
    counts = dict(standing.order_by().values_list("annotator").annotate(Count("pk")))
    seconds: dict[int, list[float]] = defaultdict(list)
    for annotator, spent in standing.exclude(seconds=None).values_list("annotator", "seconds"):
        seconds[annotator].append(spent)
    sides = _first_sides(standing) if project.kind == Kind.PREFERENCE else {}
    agreements = _agreements(standing) if project.kind == Kind.PREFERENCE else {}
    return [
        {
            "annotator": pk,
            "count": count,
            "median_seconds": median(seconds[pk]) if seconds[pk] else None,
            "agreement": agreements.get(pk),
            "first_side": sides.get(pk),
        }
        for pk, count in counts.items()
    ]


def _first_sides(standing: Any) -> dict[int, Any]:
    """How often each person chose what was shown first, where a side was chosen and the order is known."""
    chosen = standing.exclude(body__choice__in=NEITHER).exclude(shown=[])
    first = Case(When(body__choice=KeyTransform(0, "shown"), then=Value(1)), default=Value(0))
    rows = chosen.annotate(first=first).order_by().values_list("annotator").annotate(n=Count("pk"), firsts=Sum("first"))
    return {annotator: intervals.wilson(firsts, n) for annotator, n, firsts in rows}


def _agreements(standing: Any) -> dict[int, Any]:
    """How often each person's choice is that of another who judged the same task, counted over pairs of votes."""
    agreeing: Counter[int] = Counter()
    counted: Counter[int] = Counter()
    rows = standing.filter(task__done__gte=2).annotate(choice=KeyTransform("choice", "body"))
    task_votes: list[tuple[int, Any]] = []
    current = None
    for task, annotator, choice in rows.order_by("task").values_list("task", "annotator", "choice").iterator():
        if task != current:
            _compare(task_votes, agreeing, counted)
            task_votes, current = [], task
        task_votes.append((annotator, "tie" if choice in NEITHER else choice))
    _compare(task_votes, agreeing, counted)
    return {annotator: intervals.wilson(agreeing[annotator], n) for annotator, n in counted.items() if n}


def _compare(votes: list[tuple[int, Any]], agreeing: Counter[int], counted: Counter[int]) -> None:
    choices = Counter(choice for _, choice in votes)
    for annotator, choice in votes:
        agreeing[annotator] += choices[choice] - 1
        counted[annotator] += len(votes) - 1
