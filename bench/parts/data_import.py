"""The import half of bench/data.py: Hone's import of a file of pairs beside the floor.

The floor reads the same pairs from Parquet with pyarrow and stores the same rows with one executemany a table, in the
same tables with the same indexes: no check, no id of its own, no staging. On PostgreSQL (DATABASE_URL) the server does
much of the work of both sides, so there the clock counts instead of the processor time of this process.

Beside the import another process writes a row twenty times a second, as annotators do, and tells its longest wait.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import time
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tests import postgres

WORST_RATIO = 4.0  # times the floor
PEER = 4000.0  # rows a second that Label Studio's import took in
MOST_MEMORY = 400.0  # MB, for a million pairs
TEXTS = 997  # different ones


def pairs(path: Path, number: int) -> None:
    """A Parquet or JSONL file of that many pairs with some 60 words an answer.

    There are a thousand prompts that differ in a number only, so that as many as possible are nearly the same. Parquet
    has one row group, as most writers make it, which is hardest on the memory of a reader.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "prompt", "response_a", "response_b")
    pieces = (rows(start, min(start + 10_000, number)) for start in range(0, number, 10_000))
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as out:
            for piece in pieces:
                out.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in piece)
        return
    tables = [pa.table([pa.array(column) for column in zip(*piece, strict=True)], names=names) for piece in pieces]
    pq.write_table(pa.concat_tables(tables), path)


def rows(start: int, end: int) -> list[tuple[str, str, str, str]]:
    return [
        (f"q{n}", f"Question {n}: {text(n, 20)}?", f"{text(n + 1, 60)} {n}.", f"{text(n + 2, 60)} {n}!")
        for n in range(start, end)
    ]


def text(seed: int, words: int) -> str:
    return _text(seed % TEXTS, words)


@cache
def _text(seed: int, words: int) -> str:
    chance = random.Random(seed)
    return " ".join(chance.choices(_words(), k=words))


@lru_cache(maxsize=1)
def _words() -> list[str]:
    chance = random.Random(0)
    return ["".join(chance.choices("etaoinshrdlucmwy", k=chance.randint(2, 9))) for _ in range(2000)]


def measure(folder: Path, number: int, format: str, repeats: int) -> dict[str, Any]:
    """The best of `repeats` turns of each side, each in a process and a database of its own."""
    files = {"floor": folder / "pairs.parquet", "import": folder / f"pairs.{format}"}
    for path in sorted(set(files.values())):
        # In a process of its own: a child's peak begins at what its parent had.
        _alone("pairs", path, folder / f"made-{path.suffix[1:]}", number)
    found: dict[str, list[dict[str, float]]] = {"floor": [], "import": []}
    for turn in range(repeats):
        for side in found:
            found[side].append(_alone(side, files[side], folder / f"{side}-{turn}"))
    measured = "wall" if database() == "postgresql" else "cpu"
    best = {side: min(runs, key=lambda run: run[measured]) for side, runs in found.items()}
    return {
        "pairs": number,
        "format": format,
        "database": database(),
        "measured": measured,
        "floor_seconds": best["floor"][measured],
        "import_seconds": best["import"][measured],
        "floor_wall_seconds": best["floor"]["wall"],
        "import_wall_seconds": best["import"]["wall"],
        "pairs_per_second": number / best["import"][measured],
        "peak_mb": max(run["peak_mb"] for run in found["import"]),
        "disk_mb": best["import"]["disk_mb"],
        "longest_wait_seconds": min(run["longest_wait"] for run in found["import"]),
    }


def database() -> str:
    return "postgresql" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "sqlite"


def targets(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    ratio = results["import_seconds"] / results["floor_seconds"]
    rate, memory = results["pairs_per_second"], results["peak_mb"]
    return {
        "import_times_floor": {"value": round(ratio, 2), "target": WORST_RATIO, "met": ratio <= WORST_RATIO},
        "import_times_label_studio": {"value": round(rate / PEER, 2), "target": 10.0, "met": rate >= 10 * PEER},
        "import_peak_mb": {"value": round(memory), "target": MOST_MEMORY, "met": memory <= MOST_MEMORY},
    }


def _alone(side: str, path: Path, folder: Path, *more: int) -> dict[str, float]:
    folder.mkdir()
    environment = os.environ | {"HONE_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "config.settings"}
    if database() == "postgresql":
        environment["DATABASE_URL"] = postgres.new_database(os.environ["DATABASE_URL"])
    command = [sys.executable, "-m", "bench.parts.data_import", side, str(path), *map(str, more)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    shutil.rmtree(folder)  # a million pairs fill two gigabytes
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(side: str, path: Path, *more: str) -> None:
    """One turn of one side in this process; prints what it took."""
    if side == "pairs":
        pairs(path, int(more[0]))
        print("{}")
        return
    import django

    django.setup()
    if side == "wait":
        print(json.dumps(longest_wait()))
        return
    import pyarrow.parquet  # noqa: F401  both sides use it, so loading it is nobody's time
    from django.core.management import call_command

    from annotation.models import Project

    call_command("migrate", verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", kind="preference")
    other = None
    if side == "import":
        command = [sys.executable, "-m", "bench.parts.data_import", "wait", str(path)]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        other.stdout.readline()  # it writes from here on
    wall, cpu = time.monotonic(), processor_time()
    if side == "import":
        from annotation.importing import import_records

        assert import_records(project, path).applied
    else:
        floor(project.pk, path)
    taken = {"cpu": processor_time() - cpu, "wall": time.monotonic() - wall}
    # Pages that both processes share count twice.
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    if other is not None:
        taken["longest_wait"] = float(other.communicate()[0])
    taken["disk_mb"] = sum(file.stat().st_size for file in Path(os.environ["HONE_DATA"]).rglob("*.*")) / 1e6
    print(json.dumps(taken | {"peak_mb": sum(peaks)}))


def processor_time() -> float:
    """Seconds of this process and of those that it started and saw end: the one that read the file, if any."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def longest_wait() -> float:
    """Seconds that the slowest of small writes took, until nobody holds the other end of stdin any more."""
    from annotation.models import User
    from annotation.writes import write_transaction

    user = User.objects.create(username="waits")
    longest = 0.0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        began = time.monotonic()
        with write_transaction():
            User.objects.filter(pk=user.pk).update(first_name=str(began))
        longest = max(longest, time.monotonic() - began)
    return longest


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
        "VALUES (%s, %s, %s, %s, '{}', 'label', 0, 0, 1, 1, 0, false, false, %s, 0, 0, 0)"
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
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
