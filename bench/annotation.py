"""How fast people judge here, and whether nothing is lost on the way: python bench/annotation.py [--tasks 1000].

Imports generated pairs, lets 1, 20 and 100 simulated annotators judge over real HTTP against `manage.py serve` in a
closed loop, and exports, on SQLite and on PostgreSQL. Afterwards the export is compared with what each annotator was
told: every hand-out, answer and loss is accounted for. Label Studio and doccano are not run: they stand beside the
table with the figures they gave elsewhere, marked as not measured here.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from labeling import hone

TASKS, ANNOTATORS, DATABASES = [1_000, 100_000, 1_000_000], [1, 20, 100], ["sqlite", "postgresql"]
EXPORT_ROWS = 100_000
AFRESH = 10_000  # tasks up to which each crowd gets a project of its own, because one crowd may finish it
# Judgements a second with 20 annotators, and rows a second in and out: figures that were given, not measured here.
ELSEWHERE: dict[str, dict[str, float]] = {
    "label_studio": {"sqlite": 2.1, "postgresql": 5.5, "import_rows_per_s": 4000, "export_rows_per_s": 610},
    "doccano": {"sqlite": 15.4},
}
# How many times as fast we are to be with 20 annotators on each database.
TIMES = {"sqlite": (("label_studio", 50), ("doccano", 7)), "postgresql": (("label_studio", 20),)}
PROMPT = "Which answer to question {n} would you rather have received, and why does the other one fall behind it?"
ANSWER = (
    "Answer {letter} to question {n}. " + "It explains what follows from the facts, step by step, in plain words. " * 4
)


def main() -> None:
    asked = arguments()
    results: dict[str, Any] = {"not_measured_here": ELSEWHERE}
    with tempfile.TemporaryDirectory(prefix="hone-bench-files-") as files:
        for database in asked.databases:
            results[database] = measured(asked, database, Path(files))
    table(results, asked)
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "annotation", "device": device, "results": results, "targets": targets(results)}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=TASKS, help="sizes of the projects")
    parser.add_argument("--annotators", type=int, nargs="+", default=ANNOTATORS)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--seconds", type=float, default=30.0, help="of judging in each cell")
    parser.add_argument("--export-rows", type=int, default=EXPORT_ROWS)
    parser.add_argument("--workers", type=int, default=1, help="web processes of manage.py serve")
    parser.add_argument("--threads", type=int, default=8, help="threads in each of them")
    return parser.parse_args()


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
                say(f"{database}: {size:,} tasks, {people} annotators judged")
            found["judging"][str(size)] = cells
        rows = asked.export_rows
        place.import_file("bench-export", written(files, rows, judged=True), rows)
        found["export"] = hone.export(place, "bench-export", rows, asked.workers, asked.threads)
    return found


def written(files: Path, number: int, *, judged: bool) -> Path:
    """A file of `number` pairs; `judged` ones bring a judgement each."""
    path = files / f"{number}-{judged}.jsonl"
    if path.exists():
        return path
    with path.open("w") as out:
        for n in range(number):
            sides = [ANSWER.format(letter=letter, n=n) for letter in "AB"]
            record: dict[str, Any] = {"id": f"q-{n}", "prompt": PROMPT.format(n=n), "responses": sides}
            if judged:
                record["annotations"] = [{"annotator": f"rater-{n % 20}", "choice": "ab"[n % 2], "strength": 1 + n % 3}]
            out.write(json.dumps(record) + "\n")
    return path


def table(results: dict[str, Any], asked: argparse.Namespace) -> None:
    """The table for a person."""
    head = (
        "database",
        "tasks",
        "people",
        "per s",
        "p50",
        "p95",
        "p99",
        "MB",
        "errors",
        "double",
        "over",
        "lost",
        "twice",
    )
    print(("{:>12}" + "{:>10}" * 12).format(*head))
    for database in asked.databases:
        for size, cells in results[database]["judging"].items():
            for people, cell in cells.items():
                both = cell["next_and_submit_ms"]
                row = (database, size, people, cell["per_s"], both["p50"], both["p95"], both["p99"], cell["peak_mb"])
                wrong = [cell[name] for name in ("errors", "double_hand_outs", "overruns", "lost", "saved_twice")]
                print(("{:>12}" + "{:>10}" * 12).format(*map(str, (*row, *wrong))))
        for size, done in results[database]["import"].items():
            print(f"{database}: import of {size} at {done['rows_per_s']} rows/s, {done['peak_mb']} MB")
        out = results[database]["export"]
        print(
            f"{database}: export of {out['rows']} at {out['rows_per_s']} rows/s, first byte in {out['first_byte_s']} s"
        )
    for name, known in results["not_measured_here"].items():
        print(f"{name}, not measured here: {known}")


def targets(results: dict[str, Any]) -> dict[str, Any]:
    """What was to be reached; where this run left a part out, its target is left out, too."""
    found: dict[str, Any] = {}
    for database in (name for name in DATABASES if name in results):
        judging = results[database]["judging"]
        cells = [cell for size in judging.values() for cell in size.values()]
        for name in ("errors", "double_hand_outs", "overruns", "lost", "saved_twice"):
            wrong = sum(cell[name] for cell in cells)
            found[f"{database}_{name}"] = target(wrong, 0, wrong == 0)
        for people, most in (("1", 30), ("20", 250)):
            slowest = [size[people]["next_and_submit_ms"]["p95"] for size in judging.values() if people in size]
            if slowest and None not in slowest:
                found[f"{database}_p95_{people}"] = target(max(slowest), most, max(slowest) <= most)
        twenty = [size["20"]["per_s"] for size in judging.values() if "20" in size]
        for peer, times in TIMES[database]:
            theirs = ELSEWHERE[peer][database]
            if twenty:
                found[f"{database}_times_{peer}"] = target(min(twenty) / theirs, times, min(twenty) >= times * theirs)
        slowest_import = min(done["rows_per_s"] for done in results[database]["import"].values())
        known = ELSEWHERE["label_studio"]
        for name, ours, theirs, times in (
            ("import", slowest_import, known["import_rows_per_s"], 10),
            ("export", results[database]["export"]["rows_per_s"], known["export_rows_per_s"], 40),
        ):
            found[f"{database}_{name}_times_label_studio"] = target(ours / theirs, times, ours >= times * theirs)
        idle = results[database]["export"]["idle_mb"]
        found[f"{database}_idle_mb"] = target(idle, 250, idle <= 250)
    return found


def target(value: float, wanted: float, met: bool) -> dict[str, Any]:
    return {"value": round(value, 3), "target": wanted, "met": met}


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
