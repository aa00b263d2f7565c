"""The export half of bench/data.py: Hone's exports and a snapshot beside the floor.

The floor reads the same columns with one bare query and writes them with pyarrow as they come: no aggregation, no
JSON decoded, no messages made.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.parts import data_import

WORST_RATIO = 3.0  # times the floor
FIRST_BYTE = 0.3  # seconds
MOST_MEMORY = 1024.0  # MB, for a snapshot of a million pairs
SIDES = ("floor", "parquet", "jsonl", "snapshot")
FLOOR = """
SELECT t.id, t.prompt, a.body, one.text, other.text FROM annotation_annotation a
JOIN annotation_task t ON t.id = a.task_id
JOIN annotation_response one ON one.task_id = t.id AND one.position = 0
JOIN annotation_response other ON other.task_id = t.id AND other.position = 1
WHERE a.project_id = %s AND a.status = 'submitted' ORDER BY t.id
"""


def measure(folder: Path, number: int, repeats: int = 3) -> dict[str, Any]:
    """Best CPU seconds of `repeats` turns of each side, each in a process of its own, on one filled database."""
    data = folder / "export"
    data.mkdir()
    _alone("fill", data, number)
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side, runs in found.items():
            runs.append(_alone(side, data, number))
    best = {side: min(runs, key=lambda run: run["cpu"]) for side, runs in found.items()}
    results: dict[str, Any] = {"annotations": number}
    for side, run in best.items():
        results |= {f"{side}_cpu_seconds": run["cpu"], f"{side}_wall_seconds": run["wall"]}
    results["export_annotations_per_second"] = number / max(best[side]["wall"] for side in ("parquet", "jsonl"))
    results["first_byte_seconds"] = max(best[side]["first"] for side in ("parquet", "jsonl"))
    results["snapshot_peak_mb"] = max(run["peak_mb"] for run in found["snapshot"])
    return results


def targets(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for side in ("parquet", "jsonl"):
        ratio = results[f"{side}_cpu_seconds"] / results["floor_cpu_seconds"]
        found[f"export_{side}_times_floor"] = _target(ratio, WORST_RATIO)
    found["export_first_byte_seconds"] = _target(results["first_byte_seconds"], FIRST_BYTE)
    found["snapshot_peak_mb"] = _target(results["snapshot_peak_mb"], MOST_MEMORY)
    return found


def _target(value: float, wanted: float) -> dict[str, Any]:
    return {"value": round(value, 3), "target": wanted, "met": value <= wanted}


def _alone(side: str, data: Path, number: int) -> dict[str, float]:
    environment = os.environ | {"HONE_DATA": str(data), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-m", "bench.parts.data_export", side, str(data), str(number)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(side: str, data: Path, number: int) -> None:
    """One turn of one side in this process; prints what it took."""
    import django

    django.setup()
    import pyarrow.parquet  # noqa: F401  both sides use it, so loading it is nobody's time

    from annotation.models import Project

    if side == "fill":
        fill(data, number)
        print("{}")
        return
    project = Project.objects.get(slug="bench")
    wall, cpu = time.monotonic(), time.process_time()
    first = {"floor": floor, "snapshot": snapshot}.get(side, lambda one, out: export(one, out, side))(project, data)
    taken = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall, "first": first - wall if first else 0.0}
    print(json.dumps(taken | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def fill(data: Path, number: int) -> None:
    """That many tasks of two responses, each judged by one of twenty people, without the time of an import."""
    from django.core.management import call_command
    from django.db import transaction

    from annotation import bulk
    from annotation.models import Annotation, Project, Response, Task, User

    call_command("migrate", verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", kind="preference")
    people = User.objects.bulk_create(User(username=f"judge-{n}") for n in range(20))
    text = data_import.text
    for start in range(0, number, 10_000):
        places = range(start, min(start + 10_000, number))
        prompts = ([{"role": "user", "content": f"Question {n}: {text(n, 20)}?"}] for n in places)
        tasks = [(n + 1, project.pk, f"q{n}", prompt, n, 1, 0) for n, prompt in zip(places, prompts, strict=True)]
        answers = ((n + 1, side, f"{text(n + 1 + side, 60)}{'.!'[side]}") for n in places for side in (0, 1))
        bodies = ({"choice": 2 * n + 1 + n % 2, "strength": n % 4, "aspects": {}, "flags": []} for n in places)
        said = zip(places, bodies, strict=True)
        votes = ((project.pk, n + 1, people[n % 20].pk, "preference", body) for n, body in said)
        with transaction.atomic():
            bulk.insert(Task, ("id", "project_id", "external_id", "prompt", "rank", "done", "open_slots"), tasks)
            bulk.insert(Response, ("task_id", "position", "text"), answers)
            bulk.insert(Annotation, ("project_id", "task_id", "annotator_id", "kind", "body"), votes)


def floor(project: Any, data: Path) -> float:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from django.db import connection

    names = ("task_id", "prompt", "body", "one", "other")
    schema = pa.schema([(name, pa.int64() if name == "task_id" else pa.string()) for name in names])
    with connection.cursor() as cursor, pq.ParquetWriter(data / "floor.parquet", schema, compression="zstd") as writer:
        cursor.execute(FLOOR, [project.pk])
        while rows := cursor.fetchmany(10_000):
            columns = [pa.array(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
    return 0.0


def export(project: Any, data: Path, format: str) -> float:
    from annotation import exporting

    pieces = exporting.stream(project, "preference", format)
    with (data / f"out.{format}").open("wb") as out:
        out.write(next(pieces))
        first = time.monotonic()
        for piece in pieces:
            out.write(piece)
    return first


def snapshot(project: Any, data: Path) -> float:
    import shutil

    from rlhf import snapshots

    snapshots.cut(project, name=f"bench-{time.time_ns()}", type="preference")
    shutil.rmtree(data / "snapshots")
    return 0.0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
