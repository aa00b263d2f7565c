"""One project's quality in one JSON document: agreement, people, sources, habits and checks."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Count, Q
from django.utils import timezone

from annotation import alikeness, intervals, statistics
from annotation.models import Annotation, Assignment, GoldResult, Kind, Project, RepeatCheck
from annotation.quality import breakdown, people, strengths, votes
from annotation.quality.votes import Ballots, Votes

DAYS = 28
LISTED = 50  # doubtful labels
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
PERIODS = (7, 30)  # days, today among them, for which people have rows of their own


def build(project: Project) -> dict[str, Any]:
    """The whole report; annotators are ids, to be named for those who may see names (see reports.named)."""
    found = votes.read(project)
    main = found.ballots[0] if found.ballots and project.kind != Kind.DEMONSTRATION else None
    rows = _with_checks(project, people.figures(main, found))
    today = timezone.now().date()
    return {
        "kind": project.kind,
        "stats": statistics.figures(project, days=DAYS, annotators=rows),
        "judgements": len(found.task),
        "tasks": len(found.tasks),
        "left_out": found.left_out,
        "questions": [_question(ballots, found) for ballots in found.ballots],
        "since": _since(project, main, found) if main else None,
        "annotators": rows,
        "periods": {str(days): _lately(project, main, found, today - timedelta(days=days - 1)) for days in PERIODS},
        "strengths": strengths.of_sources(main, found) if main and len(found.sources) > 1 else [],
        "habits": people.habits(found),
        "speed": people.speed(found),
        "labels": _labels(main, found) if main else None,
        "alike": alikeness.of_everybody(project, today),
        "gold": _gold(project),
        "inventory": statistics.inventory(project),
        "repeats": _repeats(project),
    }


def _question(ballots: Ballots, found: Votes) -> dict[str, Any]:
    question = ballots.question
    about: dict[str, Any] = {"name": question.name, "label": question.label, "scale": question.scale}
    about["categories"] = list(question.categories)
    overall = breakdown.overall(ballots)
    if overall is None:
        return about | {"overall": None, "people": [], "sources": [], "time": []}
    return about | {
        "overall": overall,
        "people": breakdown.by_people(ballots, found),
        "sources": breakdown.by_sources(ballots, found),
        "time": breakdown.over_time(ballots, found),
    }


def _since(project: Project, main: Ballots, found: Votes) -> dict[str, Any] | None:
    """Agreement on the main question before and since the latest guidelines; None without something to compare."""
    now = project.guideline
    if now is None or now.number == 1:
        return None
    before, since = breakdown.around(main, found, now.created_at.date())
    if before is None or since is None:
        return None
    return {"version": now.number, "before": before["measures"], "since": since["measures"]}


def _labels(main: Ballots, found: Votes) -> dict[str, Any] | None:
    """Posterior labels in short: how many of each, how sure they are, and the tasks where they are least sure."""
    latent = people.posterior(main)
    if latent is None:
        return None
    judged = np.unique(main.thing[main.label >= 0])
    sure = latent.posterior.max(axis=1)
    counts = main.counts()[judged]
    several = counts.sum(axis=1) > 1
    plurality = counts.argmax(axis=1)
    clear = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) == 1
    doubtful = np.nonzero(several)[0][np.argsort(sure[several], kind="stable")[:LISTED]]
    categories = main.question.categories
    return {
        "method": "Dawid and Skene (1979)",
        "prior": {name: round(float(share), 4) for name, share in zip(categories, latent.prior, strict=True)},
        "sure": int((sure >= 0.95).sum()),
        "things": len(judged),
        "against_plurality": int((clear & several & (latent.label != plurality)).sum()),
        "doubtful": [
            {
                "task": int(found.tasks[main.task[judged[place]]]),
                "label": categories[int(latent.label[place])],
                "probability": round(float(sure[place]), 4),
                "votes": dict(zip(categories, map(int, counts[place]), strict=True)),
            }
            for place in doubtful
        ],
    }


def _lately(project: Project, main: Ballots | None, found: Votes, day: date) -> list[dict[str, Any]]:
    """The rows of everybody who has judged on this day or since, of what they did then alone."""
    rows = people.figures(main, found, since=day.toordinal())
    return _with_checks(project, rows, datetime(day.year, day.month, day.day, tzinfo=UTC))


def _with_checks(project: Project, rows: list[dict[str, Any]], since: datetime = BEGINNING) -> list[dict[str, Any]]:
    """The rows with each person's gold accuracy, swap consistency and share of skips, where there are any.

    Answers to gold tasks count as work done, so whoever judged nothing else has a row too.
    """
    done = _by_person(Annotation.objects.standing().filter(project=project, created_at__gte=since), Q())
    rows += [{"annotator": who} for who in done.keys() - {row["annotator"] for row in rows}]
    answered = GoldResult.objects.filter(project=project, qualification=False, created_at__gte=since)
    gold, repeats = _by_person(answered, Q(correct=True)), _repeated(project, since)
    ended = (Assignment.State.SUBMITTED, Assignment.State.SKIPPED)
    seats = Assignment.objects.filter(project=project, leased_at__gte=since, state__in=ended)
    skips = _by_person(seats, Q(state=Assignment.State.SKIPPED))
    for row in rows:
        who = row["annotator"]
        row["count"] = done[who][1] if who in done else row.get("count", 0)
        row["gold"] = intervals.wilson(*gold[who]) if who in gold else None
        row["repeats"] = intervals.wilson(*repeats[who]) if who in repeats else None
        row["skips"] = skips[who][0] / skips[who][1] if who in skips else None
    return rows


def _by_person(rows: Any, hit: Q) -> dict[int, tuple[int, int]]:
    hits = Count("pk", filter=hit) if hit else Count("pk")
    counted = rows.order_by().values("annotator").annotate(hits=hits, n=Count("pk"))
    return {row["annotator"]: (row["hits"], row["n"]) for row in counted}


def _gold(project: Project) -> dict[str, Any] | None:
    counted = _by_person(GoldResult.objects.filter(project=project, qualification=False), Q(correct=True))
    return intervals.wilson(sum(hits for hits, _ in counted.values()), sum(n for _, n in counted.values()))


def _repeats(project: Project) -> dict[str, Any] | None:
    counted = _repeated(project)
    return intervals.wilson(sum(hits for hits, _ in counted.values()), sum(n for _, n in counted.values()))


def _repeated(project: Project, since: datetime = BEGINNING) -> dict[int, tuple[int, int]]:
    """For each person, how often the same task with its sides turned round got the same answer, and how often asked."""
    same: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    rows = RepeatCheck.objects.answered().filter(project=project, answered_at__gte=since)
    for annotator, body, original in rows.values_list("annotator", "body", "original__body").iterator():
        asked[annotator] += 1
        same[annotator] += all(body.get(name) == original.get(name) for name in ("choice", "ranking", "ratings"))
    return {annotator: (same[annotator], n) for annotator, n in asked.items()}
