"""One project's quality in one JSON document: agreement, people, sources, habits and checks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from django.db.models import Count, Q

from annotation import intervals, statistics
from annotation.models import Annotation, Assignment, GoldResult, Kind, Project, RepeatCheck
from annotation.quality import breakdown, people, strengths, votes
from annotation.quality.votes import Ballots, Votes

DAYS = 28
LISTED = 50  # doubtful labels


def build(project: Project) -> dict[str, Any]:
    """The whole report; annotators are ids, to be named for those who may see names (see reports.named)."""
    found = votes.read(project)
    main = found.ballots[0] if found.ballots and project.kind != Kind.DEMONSTRATION else None
    rows = _with_checks(project, people.figures(main, found))
    return {
        "kind": project.kind,
        "stats": statistics.figures(project, days=DAYS, annotators=rows),
        "judgements": len(found.task),
        "tasks": len(found.tasks),
        "left_out": found.left_out,
        "questions": [_question(ballots, found) for ballots in found.ballots],
        "since": _since(project, main, found) if main else None,
        "annotators": rows,
        "strengths": strengths.of_sources(main, found) if main and len(found.sources) > 1 else [],
        "habits": people.habits(found),
        "speed": people.speed(found),
        "labels": _labels(main, found) if main else None,
        "gold": _gold(project),
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


def _with_checks(project: Project, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with each person's gold accuracy, swap consistency and share of skips, where there are any.

    Answers to gold tasks count as work done, so whoever judged nothing else has a row too.
    """
    done = _by_person(Annotation.objects.standing().filter(project=project), Q())
    rows += [{"annotator": who} for who in done.keys() - {row["annotator"] for row in rows}]
    gold = _by_person(GoldResult.objects.filter(project=project, qualification=False), Q(correct=True))
    repeats = _repeated(project)
    seats = Assignment.objects.filter(project=project).exclude(state=Assignment.State.LEASED)
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


def _repeated(project: Project) -> dict[int, tuple[int, int]]:
    """For each person, how often the same task with its sides turned round got the same answer, and how often asked."""
    same: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    rows = RepeatCheck.objects.answered().filter(project=project).values_list("annotator", "body", "original__body")
    for annotator, body, original in rows.iterator():
        asked[annotator] += 1
        same[annotator] += all(body.get(name) == original.get(name) for name in ("choice", "ranking", "ratings"))
    return {annotator: (same[annotator], n) for annotator, n in asked.items()}
