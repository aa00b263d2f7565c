"""Many annotators at once on a database of their own: `python -m tests.annotators TASKS OVERLAP PROCESSES THREADS 1`.

DATABASE_URL names the database, migrated and empty; the last number turns every rule of the queue on. Each thread of
each process is one person who asks for the next task and judges it until nothing is left; some submit twice under one
key, skip, or take a judgement back, as people do. They come back for what was given back while they had already
stopped. Prints one JSON object: the problems met, what was handed to whom, and what the database holds in the end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import traceback
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


# Every rule of the queue that decides what somebody gets next; nobody is paused, so that the work gets done.
RULES = {
    "order": "random", "agreement_share": 0.3, "agreement_overlap": 4, "skip_to": "queue", "repeat_share": 0.2,
    "repeat_after": 2, "gold_share": 0.2, "gold_window": 5,
}  # fmt: skip
GOLD, ASSIGNED = 6, 8  # tasks, when the rules are on
LOOKS = 3  # how often everybody asks until nothing is left; what the last one skips is there for the others next time


def prepare(tasks: int, overlap: int, people: int, rules: bool) -> None:
    from django.db import connections

    from annotation.models import Membership, Project, User
    from annotation.tasks import add_tasks

    more = RULES if rules else {}
    project = Project.objects.create(slug="crowd", name="Crowd", kind="preference", overlap=overlap, **more)
    crowd = User.objects.bulk_create([User(username=f"p{number}") for number in range(people)])
    Membership.objects.bulk_create([Membership(user=one, project=project, role="annotator") for one in crowd])
    one = {"prompt": [{"role": "user", "content": "Is it?"}], "responses": [{"text": "Yes."}, {"text": "No."}]}
    add_tasks(project, [one for _ in range(tasks)])
    if rules:
        add_tasks(project, [one | {"gold": {"choice": "a"}} for _ in range(GOLD)])
        add_tasks(project, [one | {"assigned_to": [crowd[n % people].pk]} for n in range(ASSIGNED)])
    connections.close_all()  # nothing open may cross the fork


def work(name: str, told: dict[str, list[Any]], everybody: Any) -> None:
    from django.db import connection

    from annotation import judging, queue
    from annotation.models import Project, User

    try:
        person, project = User.objects.get(username=name), Project.objects.get()
        everybody.wait(timeout=300)
        count = 0
        for _ in range(LOOKS):
            while assignment := queue.lease_next(project, person):
                count += 1
                task, body, key = assignment.task, {"choice": "a", "strength": 1}, f"{name}-{count}"
                if assignment.pk is None:  # their own task once more
                    told["repeated"].append((name, task.pk, judging.submit(task, person, body, key=key).pk))
                    continue
                told["handed"].append((name, task.pk))
                if count % 7 == 3:
                    queue.skip(task, person, "Other reason")
                    continue
                annotation = judging.submit(task, person, body, key=key)
                if count % 5 == 0 and judging.submit(task, person, body, key=key).pk != annotation.pk:
                    told["problems"].append("A retry made a second annotation.")
                if count % 11 == 0:
                    judging.undo(annotation, person)
                    told["undone"].append((name, task.pk))
            everybody.wait(timeout=300)
    except Exception:
        told["problems"].append(traceback.format_exc())
        everybody.abort()
    finally:
        connection.close()


def one_process(names: list[str], everybody: Any, results: Any) -> None:
    told: dict[str, list[Any]] = {"handed": [], "undone": [], "repeated": [], "problems": []}
    threads = [threading.Thread(target=work, args=(name, told, everybody)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(told)


def outcome() -> dict[str, Any]:
    from annotation.models import Annotation, Assignment, GoldResult, RepeatCheck, Task

    checks = RepeatCheck.objects.answered().values_list("annotator__username", "task", "original")
    return {
        "checks": list(checks),
        "gold": list(GoldResult.objects.values_list("annotator__username", "task")),
        "tasks": list(Task.objects.values_list("pk", "need", "open_slots", "done")),
        "leased": list(Assignment.objects.filter(state="leased").values_list("task", flat=True)),
        "skipped": list(Assignment.objects.filter(state="skipped").values_list("annotator__username", "task")),
        "standing": list(Annotation.objects.standing().values_list("annotator__username", "task")),
    }


def main(tasks: int, overlap: int, processes: int, threads: int, rules: int = 0) -> dict[str, Any]:
    people = [f"p{number}" for number in range(processes * threads)]
    prepare(tasks, overlap, len(people), bool(rules))
    forks = multiprocessing.get_context("fork")
    everybody, results = forks.Barrier(len(people)), forks.Queue()
    running = [
        forks.Process(target=one_process, args=(people[first::processes], everybody, results))
        for first in range(processes)
    ]
    for process in running:
        process.start()
    told = [results.get(timeout=300) for _ in running]
    for process in running:
        process.join()
    return {name: [row for part in told for row in part[name]] for name in told[0]} | outcome()


if __name__ == "__main__":
    django.setup()
    print(json.dumps(main(*map(int, sys.argv[1:]))))
