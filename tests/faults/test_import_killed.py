import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.database import copy

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 5_000  # staged by two thousand
COUNT = "SELECT count(*) FROM {} t JOIN annotation_project p ON p.id = t.project_id WHERE p.slug = 'pairs'"

KILLED = """
import os, signal, sys
import django
from django.core.management import execute_from_command_line
django.setup()
from annotation import ahead
from annotation.management.commands.import_tasks import Command
ahead.LEAST_BYTES = 0  # another process reads the file
Command._tell = lambda self, report, started: report.read < 4_000 or os.kill(os.getpid(), signal.SIGKILL)
execute_from_command_line(sys.argv)
"""

Counter = Callable[[str], int]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Counter]]:
    """The URL of a migrated database, and how many rows of the project one of its tables holds."""
    if request.param == "sqlite":
        file = tmp_path / "hone.sqlite3"
        copy(request.getfixturevalue("migrated"), file)

        def in_file(table: str) -> int:
            with sqlite3.connect(file) as rows:
                return int(rows.execute(COUNT.format(table)).fetchone()[0])

        yield f"sqlite:///{file}", in_file
        return
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's initdb is not on this machine")
    with postgres.server() as url:
        subprocess.run(manage("migrate", "-v0"), env=os.environ | {"DATABASE_URL": url}, check=True)

        def on_server(table: str) -> int:
            with psycopg.connect(url) as rows:
                return int(rows.execute(COUNT.format(table).encode()).fetchone()[0])  # type: ignore[index]

        yield url, on_server


def manage(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *words]


@pytest.mark.slow
def test_an_import_killed_half_way_leaves_nothing_and_a_second_run_completes(
    tmp_path: Path, database: tuple[str, Counter]
) -> None:
    url, count = database
    environment = {**os.environ, "HONE_DATA": str(tmp_path), "DATABASE_URL": url}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    path = tmp_path / "pairs.jsonl"
    long = "no " * 400  # more than a pipe holds: whoever reads the file has not come to its end
    rows = ({"id": f"q{n}", "prompt": f"{n}?", "chosen": f"yes {n}", "rejected": long} for n in range(RECORDS))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    words = manage("import_tasks", "pairs", str(path), "--create", "preference", "--skip-checks")
    command = [sys.executable, "-c", KILLED, *words[2:]]
    # Its output ends when the process that reads the file has ended, too.
    killed = subprocess.run(command, env=environment, cwd=ROOT, check=False, stdout=subprocess.PIPE, timeout=120)
    assert killed.returncode == -signal.SIGKILL

    assert count("annotation_task") == 0
    assert count("annotation_annotation") == 0
    again = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(again.stdout)["created"] == RECORDS
    assert count("annotation_task") == RECORDS
    assert count("annotation_annotation") == RECORDS
