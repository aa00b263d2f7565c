"""Many annotators at once, in processes of their own, on a file of SQLite and on PostgreSQL: nobody gets in twice."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.database import copy

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's initdb is not on this machine")
    with postgres.server() as url:
        migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"]
        subprocess.run(migrate, env=os.environ | {"DATABASE_URL": url}, check=True)
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database with nothing in it."""
    if request.param == "sqlite":
        copy(request.getfixturevalue("migrated"), tmp_path / "crowd.sqlite3")
        return f"sqlite:///{tmp_path / 'crowd.sqlite3'}"
    return postgres.new_database(request.getfixturevalue("postgres_url"))


def crowd(
    database: str, folder: Path, *, tasks: int, overlap: int, processes: int, threads: int, rules: bool = False
) -> dict[str, Any]:
    """What everybody was handed, and what the database holds after they worked until nothing was left."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.annotators", *map(str, (tasks, overlap, processes, threads, int(rules)))],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database, "HONE_DATA": str(folder)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == []
    return found


def check(found: dict[str, Any]) -> None:
    """No slot handed out or judged twice, none lost, every counter true."""
    standing = Counter(task for _, task in found["standing"])
    leased = Counter(found["leased"])
    for task, need, open_slots, done in found["tasks"]:
        assert done == standing[task], "the task's count differs from its judgements"
        # A task that checks people has no slots: everybody may get it.
        taken = open_slots + leased[task] + standing[task] if need else open_slots
        assert taken == need, "a slot was lost or made up"
    handed, undone = Counter(map(tuple, found["handed"])), Counter(map(tuple, found["undone"]))
    assert handed.keys() == {tuple(pair) for pair in found["standing"] + found["skipped"]}
    assert sorted(map(tuple, found["repeated"])) == sorted(map(tuple, found["checks"])), "a repeat was lost or doubled"
    assert len(found["gold"]) == len({tuple(pair) for pair in found["gold"]})
    for pair, times in handed.items():
        assert times <= 1 + undone[pair], "a task was handed to one person twice"


def share_done(found: dict[str, Any]) -> float:
    work = [(need, done) for _, need, _, done in found["tasks"] if need]
    return sum(done for _, done in work) / sum(need for need, _ in work)


def test_eight_processes_share_one_queue(database, tmp_path):
    found = crowd(database, tmp_path, tasks=60, overlap=1, processes=8, threads=1)
    check(found)
    assert share_done(found) == 1


@pytest.mark.slow
def test_eight_processes_fill_an_overlap_of_three_under_every_rule(database, tmp_path):
    found = crowd(database, tmp_path, tasks=60, overlap=3, processes=8, threads=1, rules=True)
    check(found)
    assert found["repeated"] and found["gold"]
    assert share_done(found) > 0.9  # all but what five or more of the eight have skipped or judged already


@pytest.mark.slow
def test_thirty_two_annotators_in_eight_processes_of_four_threads(database, tmp_path):
    found = crowd(database, tmp_path, tasks=120, overlap=2, processes=8, threads=4, rules=True)
    check(found)
    assert found["gold"]
    assert share_done(found) == 1
