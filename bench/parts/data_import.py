"""The import half of bench/data.py: Hone's import of a Parquet file of pairs beside the floor.

The floor reads the same Parquet with pyarrow and stores the same rows with one executemany a table, in the same tables
with the same indexes: no check, no id of its own, no staging.
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

WORST_RATIO = 4.0  # times the floor
PEER = 4000.0  # rows a second that Label Studio's import took in
MOST_MEMORY = 400.0  # MB, for a million pairs
WORDS = ("quick", "brown", "fox", "jumps", "over", "lazy", "dog", "while", "rain", "falls", "nobody", "minds", "it")


def pairs(folder: Path, number: int) -> Path:
    """A Parquet file of that many pairs of some 60 words each, written in pieces."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "pairs.parquet"
    schema = pa.schema([(name, pa.string()) for name in ("id", "prompt", "response_a", "response_b")])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, number, 10_000):
            rows = range(start, min(start + 10_000, number))
            columns = [
                [f"q{n}" for n in rows],
                [f"Question {n}: {text(n, 20)}?" for n in rows],
                [f"{text(n + 1, 60)}." for n in rows],
                [f"{text(n + 2, 60)}!" for n in rows],
            ]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))
    return path


def text(seed: int, words: int) -> str:
    return " ".join(WORDS[(seed * 7 + place * place) % len(WORDS)] for place in range(words))


def measure(folder: Path, number: int, repeats: int = 3) -> dict[str, Any]:
    """Best CPU seconds of `repeats` turns of each side, each in a process and a database of its own."""
    path = pairs(folder, number)
    found: dict[str, list[dict[str, float]]] = {"floor": [], "import": []}
    for turn in range(repeats):
        for side in found:
            found[side].append(_alone(side, path, folder / f"{side}-{turn}"))
    best = {side: min(runs, key=lambda run: run["cpu"]) for side, runs in found.items()}
    return {
        "pairs": number,
        "floor_cpu_seconds": best["floor"]["cpu"],
        "import_cpu_seconds": best["import"]["cpu"],
        "import_wall_seconds": best["import"]["wall"],
        "pairs_per_cpu_second": number / best["import"]["cpu"],
        "peak_mb": max(run["peak_mb"] for run in found["import"]),
    }


def targets(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    ratio = results["import_cpu_seconds"] / results["floor_cpu_seconds"]
    rate, memory = results["pairs_per_cpu_second"], results["peak_mb"]
    return {
        "import_times_floor": {"value": round(ratio, 2), "target": WORST_RATIO, "met": ratio <= WORST_RATIO},
        "import_times_label_studio": {"value": round(rate / PEER, 2), "target": 10.0, "met": rate >= 10 * PEER},
        "import_peak_mb": {"value": round(memory), "target": MOST_MEMORY, "met": memory <= MOST_MEMORY},
    }


def _alone(side: str, path: Path, folder: Path) -> dict[str, float]:
    folder.mkdir()
    environment = os.environ | {"HONE_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-m", "bench.parts.data_import", side, str(path)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(side: str, path: Path) -> None:
    """One turn of one side in this process; prints what it took."""
    import django

    django.setup()
    from django.core.management import call_command

    from annotation.models import Project

    call_command("migrate", verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", kind="preference")
    wall, cpu = time.monotonic(), time.process_time()
    if side == "import":
        from annotation.importing import import_records

        assert import_records(project, path).applied
    else:
        floor(project.pk, path)
    taken = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
    print(json.dumps(taken | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def floor(project: int, path: Path) -> None:
    """The same rows in the same tables, by one executemany each."""
    import pyarrow.parquet as pq
    from django.db import connection, transaction
    from django.utils import timezone

    rows = pq.read_table(path).to_pylist()
    now = str(timezone.now())
    task = (
        "INSERT INTO annotation_task (id, project_id, external_id, prompt, metadata, purpose, priority, rank, need, "
        "open_slots, done, reopened, is_gold, created_at, pool, lot, skips) "
        "VALUES (%s, %s, %s, %s, '{}', 'label', 0, 0, 1, 1, 0, 0, 0, %s, 0, 0, 0)"
    )
    response = "INSERT INTO annotation_response (task_id, position, text, source, params) VALUES (%s, %s, %s, '', '{}')"
    with transaction.atomic(), connection.cursor() as cursor:
        prompts = (json.dumps([{"role": "user", "content": row["prompt"]}]) for row in rows)
        cursor.executemany(
            task,
            [
                (n, project, row["id"], prompt, now)
                for n, (row, prompt) in enumerate(zip(rows, prompts, strict=True), 1)
            ],
        )
        sides = ("response_a", "response_b")
        cursor.executemany(
            response, [(n, place, row[side]) for n, row in enumerate(rows, 1) for place, side in enumerate(sides)]
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
