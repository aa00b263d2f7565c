import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 6000


def manage(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *words]


def count(folder: Path, table: str, project: str) -> int:
    query = f"SELECT count(*) FROM {table} t JOIN annotation_project p ON p.id = t.project_id WHERE p.slug = ?"
    with sqlite3.connect(folder / "hone.sqlite3") as database:
        return int(database.execute(query, [project]).fetchone()[0])


@pytest.mark.slow
def test_an_import_killed_half_way_leaves_nothing_and_a_second_run_completes(tmp_path: Path) -> None:
    environment = {**os.environ, "HONE_DATA": str(tmp_path), "DATABASE_URL": ""}
    path = tmp_path / "pairs.jsonl"
    rows = ({"id": f"q{n}", "prompt": f"{n}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(RECORDS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    subprocess.run(manage("migrate", "-v0"), env=environment, check=True)
    words = manage("import_tasks", "pairs", str(path), "--create", "preference")
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        assert running.stderr is not None
        seen = b""
        while b"3,000 records" not in seen:
            piece = os.read(running.stderr.fileno(), 4096)
            assert piece, seen
            seen += piece
        running.send_signal(signal.SIGKILL)

    assert count(tmp_path, "annotation_task", "pairs") == 0
    assert count(tmp_path, "annotation_annotation", "pairs") == 0
    again = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(again.stdout)["created"] == RECORDS
    assert count(tmp_path, "annotation_task", "pairs") == RECORDS
    assert count(tmp_path, "annotation_annotation", "pairs") == RECORDS
