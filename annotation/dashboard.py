"""The figures of the page "Labeling", ready to be drawn.

Counts of a small project are fresh and remembered for a minute; whatever needs replicates, and everything about a large
project, comes from its quality report, which the worker keeps.
"""

from __future__ import annotations

from datetime import date
from statistics import median
from typing import Any

from django.core.cache import cache
from django.db.models import Max
from django.utils.translation import get_language, gettext, gettext_noop

from annotation import agreement_chart, disputes, intervals, statistics, wording
from annotation.agreement import NotComparable, agreement
from annotation.day_chart import columns
from annotation.exporting import types_of
from annotation.models import Annotation, Dispute, Kind, Project, Response, Task
from annotation.quality import reports
from annotation.questions import STEP_LABELS, questions_of

REMEMBERED = 60  # seconds: what is taken back or returned shows after a minute
DAYS = 28
PACE_DAYS = 7
DISPUTES = 3  # open disagreements that are listed
SURE = 0.95  # of a label, by Dawid and Skene
PAIRS = 20  # of people, in the table
FAIR = 0.05  # an interval that leaves a half by no more tells that the side shown first has no advantage
FAST = 1 / 3  # of everybody's median time: answers that quick were hardly read
HEADLINE = {Kind.RATING: "alpha_interval"}  # of the other kinds nominal: their categories are few and mean no distance
MEASURES = {
    "percent": gettext_noop("Equal"),
    "cohen": gettext_noop("Cohen κ"),
    "fleiss": gettext_noop("Fleiss κ"),
    "alpha_nominal": gettext_noop("α nominal"),
    "alpha_ordinal": gettext_noop("α ordinal"),
    "alpha_interval": gettext_noop("α interval"),
    "ac1": gettext_noop("AC1"),
    "ac2": gettext_noop("AC2"),
}
TYPE_WORDS = {
    "sft": gettext_noop("Prompts and answers, for SFT"),
    "preference": gettext_noop("Chosen and rejected, for DPO and reward models"),
    "binary": gettext_noop("Good or not, for KTO"),
    "rating": gettext_noop("A mean per aspect"),
    "ranking": gettext_noop("Orders of all responses"),
    "raw": gettext_noop("Every judgment as it was given"),
}


def of(project: Project, *, names: bool, question: str = "", period: str = "") -> dict[str, Any]:
    """The context of the dashboard; annotators have pseudonyms unless `names`.

    `question` names the one whose agreement is told by people, sources and time: the main one if there is none such.
    `period` is how many days the annotators' table is about: all there were unless the report has it.
    """
    report = reports.of(project)
    data = reports.named(report.data, project, names=names)
    context = _figures(project, names) if reports.is_small(project) else _drawn(project, data.get("stats"))
    context |= _quality(project, data, question, period) | {"report": report, "stale": reports.is_stale(report)}
    context["names"] = names
    if names:
        context["disputes"] = _disputes(project)
        context["labels"] = _labels(data.get("labels"))
        context["disputed"] = disputes.open_in(project)
    return context | {"exports": [(type_, gettext(TYPE_WORDS[type_])) for type_ in types_of(project.kind)]}


def _figures(project: Project, names: bool) -> dict[str, Any]:
    """The counts of a small project, remembered until somebody judges or imports."""
    last = Annotation.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    newest = project.tasks.aggregate(last=Max("pk"))["last"]
    key = f"dashboard:{project.pk}:{last}:{newest}:{names}:{get_language()}"
    if (known := cache.get(key)) is None:
        stats = reports.stats(project, names=names)
        known = _drawn(project, stats) | {"agreements": _agreements(project)}
        cache.set(key, known, REMEMBERED)
    return dict(known)


def _drawn(project: Project, stats: dict[str, Any] | None) -> dict[str, Any]:
    if stats is None:
        return {"stats": None}
    times = [row["median_seconds"] for row in stats["annotators"] if row.get("median_seconds") is not None]
    per_day = stats["per_day"][-DAYS:]
    return {
        "stats": stats,
        "pace": _pace(stats),
        "days": columns(per_day),
        "verdicts": _verdicts(stats["verdicts"]) if stats["verdicts"] else None,
        "scales": _scales(project, stats["labels"]) if project.kind == Kind.RATING else [],
        "median_seconds": median(times) if times else None,
    }


def _pace(stats: dict[str, Any]) -> dict[str, Any]:
    """Judgements a day over the last week, and when the rest is done at the pace of the last two."""
    counts = [day["count"] for day in stats["per_day"]]
    left = statistics.left_of(stats)
    rate = sum(counts[-PACE_DAYS:]) / PACE_DAYS
    return {"rate": rate, "left": left, "forecast": statistics.forecast_of(stats)}


def _verdicts(counted: dict[str, Any]) -> dict[str, Any] | None:
    """The steps of the beam as bars, A being what was shown first, and how often the first one won."""
    steps = {int(step): n for step, n in counted["steps"].items()}
    total, most = sum(steps.values()) + counted["both_bad"], max(steps.values(), default=0)
    if not total:
        return None
    rows = [
        {
            "step": step,
            "label": gettext(label),
            "count": steps[step],
            "share": _over(steps[step], total),
            "bar": _over(steps[step], most),
        }
        for step, label in STEP_LABELS.items()
    ]
    first, second = sum(steps[s] for s in (1, 2, 3)), sum(steps[s] for s in (5, 6, 7))
    share = _over(first, first + second) if first + second else None
    return {"rows": rows, "total": total, "both_bad": counted["both_bad"], "first_share": share}


def _quality(project: Project, data: dict[str, Any], question: str, period: str) -> dict[str, Any]:
    """What only the report knows: nothing of it before there is one."""
    if not data:
        return {}
    compared = [
        one | {"label": gettext(one["label"])} for one in data["questions"] if one["overall"] and not _is_unused(one)
    ]
    main = next((one for one in data["questions"][:1] if one["overall"] and not one["name"].startswith("flag:")), None)
    measure = HEADLINE.get(Kind(project.kind), "alpha_nominal")
    overall = main["overall"]["measures"].get(measure) if main else None
    versions = project.guideline_versions.filter(number__gt=1, is_imported=False).order_by("number")
    changes, bar = versions.values_list("number", "created_at"), project.agreement_bar
    rows = data["periods"].get(period, data["annotators"])
    return {
        "quality": data,
        "main": main,
        "moved": _moved(data.get("since"), measure),
        "headline": overall | {"of": main["overall"]["tasks"]} if main and overall else None,
        "below": _below(overall, bar),
        "bar": f"{bar:g}",
        "weeks": agreement_chart.of(main["time"], measure, changes, bar=bar) if main else None,
        "agreement": _in_full(project.kind, compared, question) if compared else None,
        "fair": _is_fair(data["habits"]["first_side"]),
        "people": [
            row
            | {
                "marks": _marks(row, data, overall, bar, intervals.wider(len(rows))),
                "below": _below(row.get("alpha"), bar),
            }
            for row in rows
        ],
        "shown": {name for row in rows for name, value in row.items() if value not in (None, 0)},
        "periods": _periods(data, period) if data["annotators"] else [],
    }


def _periods(data: dict[str, Any], period: str) -> list[tuple[str | None, str, bool]]:
    """What the annotators' table can be about: (days, words, whether it is)."""
    known = data["periods"]
    choices = [(days, gettext("%(days)s days") % {"days": days}, days == period) for days in known]
    return [*choices, (None, gettext("All"), period not in known)]


def _below(found: dict[str, Any] | None, bar: float) -> str:
    """The tone of a figure under the bar: bad where its whole interval is; "" where nothing is to be done."""
    if not found or found["value"] is None or found["value"] >= bar:
        return ""
    return "bad" if found.get("high") is not None and found["high"] < bar else "warn"


def _is_fair(side: dict[str, Any] | None) -> bool:
    """Whether wins are known to be even: an interval that merely holds a half may hold a large bias too."""
    return bool(side) and side["low"] >= 0.5 - FAIR and side["high"] <= 0.5 + FAIR  # type: ignore[index]


def _moved(since: dict[str, Any] | None, measure: str) -> dict[str, Any] | None:
    """How far agreement moved with the latest guidelines; sure where the two intervals do not meet."""
    if not since or None in (since["before"][measure]["value"], since["since"][measure]["value"]):
        return None
    before, now = since["before"][measure], since["since"][measure]
    step = now["value"] - before["value"]
    apart = None not in (before["low"], now["low"]) and (now["low"] > before["high"] or now["high"] < before["low"])
    tone = ("ok" if step > 0 else "bad") if apart else ""
    words = f"{step:+.2f}" if abs(step) >= 0.005 else "±0"
    return {"step": words, "version": since["version"], "tone": tone, "before": before["value"]}


def _in_full(kind: str, compared: list[dict[str, Any]], question: str) -> dict[str, Any]:
    """Every measure of every question, and of one question by people, by sources and by time."""
    known = [name for name in MEASURES if any(name in one["overall"]["measures"] for one in compared)]
    chosen = next((one for one in compared if one["name"] == question), compared[0])
    asked = [name for name in MEASURES if name in chosen["overall"]["measures"]]
    by_source = gettext("By source") if kind == Kind.RATING else gettext("Two sources at a time")
    parts = (
        ("people", gettext("Two people at a time"), gettext("Shared"), _both, chosen["people"][:PAIRS]),
        ("sources", by_source, gettext("Items"), _both, chosen["sources"]),
        ("time", gettext("Over time"), gettext("Items"), _since, chosen["time"][::-1]),
    )
    return {
        "measures": [gettext(MEASURES[name]) for name in known],
        "questions": [_measured(one["overall"], one["label"], known) for one in compared],
        "choices": [(one["name"], one["label"], one is chosen) for one in compared] if len(compared) > 1 else [],
        "chosen": chosen["label"],
        "asked": [gettext(MEASURES[name]) for name in asked],
        "parts": [
            {
                "name": name,
                "title": title,
                "things": things,
                "told": f"{len(rows)} / {len(chosen[name])}" if len(chosen[name]) > len(rows) else str(len(rows)),
                "rows": [_measured(row, called(row), asked) for row in rows],
            }
            for name, title, things, called, rows in parts
            if rows
        ],
    }


def _is_unused(question: dict[str, Any]) -> bool:
    """A flag that nobody has raised: perfect agreement on nothing."""
    return question["name"].startswith("flag:") and question["overall"]["measures"]["alpha_nominal"]["value"] is None


def _both(pair: dict[str, Any]) -> str:
    """What a row is about; of ratings, and of two answers from one source, both names are the same."""
    return gettext("%(a)s and %(b)s") % pair if pair["a"] != pair["b"] else str(pair["a"])


def _since(part: dict[str, Any]) -> str:
    day = date.fromisoformat(part["from"])
    words = f"{day.day} {day:%b %Y}"
    return gettext("Week of %(day)s") % {"day": words} if part["days"] > 1 else words


def _measured(found: dict[str, Any], label: str, known: list[str]) -> dict[str, Any]:
    """A table row: the measures in the order of the columns, None where the question has no such distance."""
    cells = [found["measures"].get(name) for name in known]
    return {"label": label, "things": found.get("tasks", found["things"]), "cells": cells}


def _marks(
    row: dict[str, Any], data: dict[str, Any], overall: dict[str, Any] | None, bar: float, wider: float
) -> list[tuple[str, str]]:
    """What a lead should look at, as (words, tone): each is a difference that chance does not explain.

    Of twenty people one lies outside of a 95% interval by chance, so intervals are taken so many times `wider`.
    """
    marks = []
    usual, own = (data["speed"] or {}).get("median"), row.get("median_seconds")
    if usual and own is not None and row["count"] >= 10 and own < usual * FAST:
        marks.append((gettext("Very fast"), "bad"))
    alpha = _widened(row.get("alpha"), wider) or {}
    if _below(alpha, bar) == "bad":
        marks.append((gettext("Below α %(bar)s") % {"bar": f"{bar:g}"}, "bad"))
    elif overall and alpha.get("high") is not None and alpha["high"] < (overall["value"] or 0):
        marks.append((gettext("Differs"), "warn"))
    side = _widened(row.get("first_side"), wider)
    if side and not side["low"] <= 0.5 <= side["high"]:
        marks.append((gettext("Prefers the first") if side["value"] > 0.5 else gettext("Prefers the second"), "warn"))
    return marks


def _widened(found: dict[str, Any] | None, times: float) -> dict[str, Any] | None:
    """A figure with its interval so many times as wide."""
    if not found or found["low"] is None:
        return found
    value = found["value"]
    return found | {end: value + times * (found[end] - value) for end in ("low", "high")}


def _disputes(project: Project) -> list[dict[str, Any]]:
    """The worst open disagreements with what people said."""
    worst = list(
        Dispute.objects.filter(project=project, state=Dispute.State.OPEN).order_by("-spread", "task_id")[:DISPUTES]
    )
    ids = [one.task_id for one in worst]
    tasks = Task.objects.in_bulk(ids)
    orders: dict[int, list[int]] = {task: [] for task in ids}
    for task, pk in Response.objects.filter(task__in=ids).order_by("pk").values_list("task", "pk"):
        orders[task].append(pk)
    said: dict[int, list[tuple[str, str]]] = {task: [] for task in ids}
    for vote in Annotation.objects.standing().filter(task__in=ids).order_by("pk"):
        said[vote.task_id].append(wording.in_words(vote.kind, vote.body, orders[vote.task_id]))
    return [{"task": tasks[one.task_id], "judged_at": one.judged_at, "said": said[one.task_id]} for one in worst]


def _labels(known: dict[str, Any] | None) -> dict[str, Any] | None:
    """The posterior labels in short, with the least sure ones of several people's as links."""
    if not known:
        return None
    doubtful = known["doubtful"][:DISPUTES]
    tasks = Task.objects.in_bulk([one["task"] for one in doubtful])
    unsure = [
        one | {"task": tasks[one["task"]], "label": gettext(one["label"])} for one in doubtful if one["task"] in tasks
    ]
    return known | {"doubtful": [one for one in unsure if one["probability"] < SURE]}


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
    aspects = (
        questions_of(project)["aspects"]
        if project.kind == Kind.RATING
        else [{"name": None, "label": gettext("Verdict")}]
    )
    found = []
    for aspect in aspects:
        try:
            found.append({"label": aspect["label"]} | agreement(project, aspect=aspect["name"]))
        except NotComparable:
            return []
    return [one for one in found if one["percent"]]


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
