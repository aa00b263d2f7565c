"""One side of bench/quality.py in a process of its own: `fill` a database with judgements, or make the `report`."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from datetime import timedelta
from typing import Any

PEOPLE, SOURCES, VOTES, DAYS = 60, 8, 4, 90
ASPECTS = ("helpful", "correct", "harmless", "clear")
BATCH = 20_000  # tasks in a transaction


def main(side: str, kind: str, judgements: int) -> None:
    import django

    django.setup()
    if side == "fill":
        fill(kind, judgements)
    else:
        print(json.dumps(report(kind)))


def report(kind: str) -> dict[str, Any]:
    """Seconds and memory of the worker's computation, and of reading alone, which is its first part."""
    from annotation.models import Project
    from annotation.quality import reports, votes

    project = Project.objects.get(slug=kind)
    before = _peak()
    read = votes.read
    taken = {}

    def timed(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        found = read(*given, **named)
        taken["reading_seconds"] = round(time.perf_counter() - began, 1)
        taken["reading_peak_mb"] = _peak()
        return found

    votes.read = timed
    began = time.perf_counter()
    made = reports.compute(reports._row(project, ""))
    seconds = round(time.perf_counter() - began, 1)
    size = len(json.dumps(made.data)) // 1024
    judged = {"judgements": made.data["judgements"], "seconds": seconds, "report_kb": size}
    return judged | taken | {"imports_mb": before, "peak_mb": _peak()}


def fill(kind: str, judgements: int) -> None:
    """Tasks that four of sixty people judged, each right as often as they are reliable, over three months."""
    from django.core.management import call_command
    from django.db import transaction

    from annotation.models import Project, User

    call_command("migrate", verbosity=0)
    people = User.objects.bulk_create([User(username=f"person-{number}", password="!") for number in range(PEOPLE)])
    asked = [{"name": name, "label": name.title(), "points": 5} for name in ASPECTS]
    questions = {"aspects": asked} if kind == "rating" else {"aspects": asked[:2]}
    project = Project.objects.create(slug=kind, name="Bench", kind=kind, overlap=VOTES, questions=questions)
    chance = random.Random(0)
    for first in range(0, judgements // VOTES, BATCH):
        number = min(BATCH, judgements // VOTES - first)
        with transaction.atomic():
            _store(project, [one.pk for one in people], number, first / (judgements / VOTES), chance)


def _store(project: Any, people: list[int], number: int, part: float, chance: random.Random) -> None:
    from django.utils import timezone

    from annotation import bulk
    from annotation.models import Annotation, Response, Task

    begun = timezone.now() - timedelta(days=DAYS)
    tasks = bulk.next_ids(Task, number)
    prompt = [{"role": "user", "content": "Which of these is better, and why?"}]
    fields = ("id", "project_id", "prompt", "rank", "need", "open_slots", "done")
    bulk.insert(Task, fields, ((task, project.pk, prompt, task, VOTES, 0, VOTES) for task in tasks))
    each = 2 if project.kind == "preference" else 1
    ids = bulk.next_ids(Response, number * each)
    names = ("id", "task_id", "position", "text", "source")
    texts = ("word " * n for n in range(20, 60))
    answers = list(texts)
    sources = [chance.sample(range(SOURCES), each) for _ in tasks]
    bulk.insert(
        Response,
        names,
        (
            (ids[place * each + side], task, side, chance.choice(answers), f"model-{sources[place][side]}")
            for place, task in enumerate(tasks)
            for side in range(each)
        ),
    )
    names = ("project_id", "task_id", "annotator_id", "kind", "body", "shown", "seconds", "created_at")
    made = _preferred if project.kind == "preference" else _rated

    def rows() -> Any:
        for place, task in enumerate(tasks):
            given = ids[place * each : (place + 1) * each]
            truth = chance.random()
            when = begun + timedelta(days=DAYS * part, seconds=place)
            for person in chance.sample(range(len(people)), VOTES):
                reliable = 0.5 + 0.45 * person / len(people)
                shown = chance.sample(given, each)
                body = made(given, truth, reliable, chance)
                yield (project.pk, task, people[person], project.kind, body, shown, 20 + 40 * truth, when)

    bulk.insert(Annotation, names, rows())


def _preferred(given: list[int], truth: float, reliable: float, chance: random.Random) -> dict[str, Any]:
    def side() -> Any:
        seen = truth if chance.random() < reliable else chance.random()
        return given[0] if seen < 0.45 else given[1] if seen < 0.9 else "tie"

    choice = side()
    strength = 0 if choice == "tie" else chance.randint(1, 3)
    aspects = {name: side() for name in ASPECTS[:2]}
    flags = ["unclear"] if chance.random() < 0.02 else []
    return {"choice": choice, "strength": strength, "aspects": aspects, "flags": flags, "rationale": "It is right."}


def _rated(given: list[int], truth: float, reliable: float, chance: random.Random) -> dict[str, Any]:
    def points() -> int:
        return 1 + int(5 * (truth if chance.random() < reliable else chance.random()))

    return {"ratings": {name: points() for name in ASPECTS}, "flags": [], "rationale": ""}


def _peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
