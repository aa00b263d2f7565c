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
    from django.core.management import call_command

    from annotation.importing import import_records
    from annotation.models import Project

    call_command("migrate", verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", kind="preference")
    text = data_import.text
    rows = (
        {
            "id": f"q{n}",
            "prompt": f"Question {n}: {text(n, 20)}?",
            "responses": [f"{text(n + 1, 60)}.", f"{text(n + 2, 60)}!"],
            "annotations": [{"annotator": f"judge {n % 20}", "choice": "ab"[n % 2], "strength": n % 4}],
        }
        for n in range(number)
    )
    assert import_records(project, rows).applied


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
