"""How fast people judge here, and whether nothing is lost on the way: python bench/annotation.py [--peers].

Imports generated pairs, lets 1, 20 and 100 simulated annotators judge over real HTTP against `manage.py serve` in a
closed loop, and exports, on SQLite and on PostgreSQL. Afterwards the export is compared with what each annotator was
told: every hand-out, answer and loss is accounted for. With --peers, Label Studio (on both databases) and doccano (on
its default, SQLite) do the same in the same run, each installed into bench/.peers; without it they stand beside the
table with the figures they gave elsewhere, marked as not measured here.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any

from labeling import comparison, doccano, hone, label_studio

TASKS, ANNOTATORS, DATABASES = [1_000, 100_000, 1_000_000], [1, 20, 100], ["sqlite", "postgresql"]
PEERS = ["label_studio", "doccano"]
AFRESH = 10_000  # tasks up to which each crowd gets a project of its own, because one crowd may finish it
PROMPT = "Which answer to question {n} would you rather have received, and why does the other one fall behind it?"
ANSWER = (
    "Answer {letter} to question {n}. " + "It explains what follows from the facts, step by step, in plain words. " * 4
)


def main() -> None:
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing that was started may stay behind
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="hone-bench-files-") as files:
        for database in asked.databases:
            results[database] = measured(asked, database, Path(files))
            if asked.peers:
                results[database]["peers"] = others(asked, database)
    comparison.table(results)
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    found = {"bench": "annotation", "device": device, "results": results, "targets": comparison.targets(results)}
    print(json.dumps(found))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=TASKS, help="sizes of the projects")
    parser.add_argument("--annotators", type=int, nargs="+", default=ANNOTATORS)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--seconds", type=float, default=30.0, help="of judging in each cell")
    parser.add_argument("--export-rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, help="web processes of manage.py serve, if not as it comes")
    parser.add_argument("--threads", type=int, help="threads in each of them")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="run these, too; all of them if none is named")
    parser.add_argument("--peer-annotators", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--peer-rows", type=int, default=10_000, help="rows that they import and export")
    asked = parser.parse_args()
    asked.peers = PEERS if asked.peers == [] else asked.peers or []
    return asked


def measured(asked: argparse.Namespace, database: str, files: Path) -> dict[str, Any]:
    """Everything about Hone on one database: a project for each size, judged by each crowd in turn."""
    found: dict[str, Any] = {"import": {}, "judging": {}}
    with hone.installed(database) as place:
        for size in asked.tasks:
            cells, slug = {}, ""
            for people in asked.annotators:
                if not slug or size <= AFRESH:
                    slug = f"bench-{size}-{people}"
                    found["import"][str(size)] = place.import_file(slug, written(files, size, judged=False), size)
                    say(f"{database}: {size:,} tasks imported")
                cells[str(people)] = hone.work(place, slug, people, asked.seconds, asked.workers, asked.threads)
                say(f"{database}: {size:,} tasks, {people} annotators: {json.dumps(cells[str(people)])}")
            found["judging"][str(size)] = cells
        rows = asked.export_rows
        place.import_file("bench-export", written(files, rows, judged=True), rows)
        found["export"] = hone.export(place, "bench-export", rows, asked.workers, asked.threads)
        say(f"{database}: in and out: {json.dumps([found['import'], found['export']])}")
    return found


def others(asked: argparse.Namespace, database: str) -> dict[str, Any]:
    """The same about the tools beside it; of one that does not run, why."""
    rows = [record(n, judged=True) for n in range(asked.peer_rows)]
    given = {"crowds": asked.peer_annotators, "seconds": asked.seconds, "tasks": min(asked.tasks)}
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peer-"))) for _ in range(2)]
        runs = {"label_studio": lambda: label_studio.measured(url, folders[0], rows, **given)}
        if database == "sqlite":
            runs["doccano"] = lambda: doccano.measured(folders[1], rows, **given)
        url = None if database == "sqlite" else stack.enter_context(hone.postgres())
        for name in (name for name in asked.peers if name in runs):
            try:
                found[name] = runs[name]()
                say(f"{database}: {name} {json.dumps(found[name])}")
            except (OSError, HTTPException, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                say(f"{database}: {name} did not run: {error}")
    return found


def written(files: Path, number: int, *, judged: bool) -> Path:
    """A file of `number` pairs; `judged` ones bring a judgement each."""
    path = files / f"{number}-{judged}.jsonl"
    if not path.exists():
        with path.open("w") as out:
            out.writelines(json.dumps(record(n, judged=judged)) + "\n" for n in range(number))
    return path


def record(n: int, *, judged: bool) -> dict[str, Any]:
    sides = [ANSWER.format(letter=letter, n=n) for letter in "AB"]
    found: dict[str, Any] = {"id": f"q-{n}", "prompt": PROMPT.format(n=n), "responses": sides}
    if judged:
        found["annotations"] = [{"annotator": f"rater-{n % 20}", "choice": "ab"[n % 2], "strength": 1 + n % 3}]
    return found


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
