import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from annotation import importing, jobs, staging
from annotation.importing import ImportInterrupted, ImportReport, import_records
from annotation.models import ImportJob, Response, Task
from annotation.writes import write_transaction
from config.settings import SQLITE_OPTIONS
from tests import factories


def pairs(number: int) -> list[dict[str, Any]]:
    return [{"id": f"q{n}", "prompt": f"Question {n}?", "responses": ["yes", "no"]} for n in range(number)]


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_for_a_large_import_writes_before_sqlite_files_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("nobody waits on PostgreSQL")
    project, plain, seen = factories.project(), staging._set, []
    records = pairs(3)

    def written() -> None:
        with write_transaction():
            seen.append(project.tasks.count())
        connection.close()

    def setting(*pragmas: str) -> None:
        if "wal_checkpoint(PASSIVE)" in pragmas:
            other = threading.Thread(target=written)
            other.start()
            other.join(timeout=10)  # is over at once, unless the import still holds the line
            assert seen == [3]
        plain(*pragmas)

    monkeypatch.setattr(staging, "MANY", 3)
    monkeypatch.setattr(staging, "_set", setting)
    assert import_records(project, records).applied
    with connection.cursor() as cursor:
        left = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("wal_autocheckpoint", "cache_size")]
    assert (left, seen) == ([1000, -2000], [3])


@pytest.mark.django_db(transaction=True)
def test_what_is_staged_is_filed_away_with_nobody_in_line_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("nobody waits on PostgreSQL")
    project, plain, written = factories.project(), staging._set, []

    def setting(*pragmas: str) -> None:
        if "wal_checkpoint(PASSIVE)" in pragmas:
            with connection.cursor() as cursor:
                assert cursor.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
            assert not connection.in_atomic_block
            written.append(Task.objects.count())
        plain(*pragmas)

    monkeypatch.setattr(importing, "BATCH", 10)
    monkeypatch.setattr(staging, "CHECKPOINT", 2)
    monkeypatch.setattr(staging, "_set", setting)
    assert import_records(project, pairs(50)).applied
    assert written == [20, 40]


@pytest.mark.django_db(transaction=True)
def test_an_import_swept_away_while_it_runs_stores_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite is not asked to look up the project of each row."""

    def swept(report: ImportReport) -> None:
        ImportJob.objects.update(heartbeat=None)
        jobs.sweep()
        ImportJob.objects.update(state=ImportJob.State.RUNNING)  # as if only its rows were gone

    project = factories.project()
    monkeypatch.setattr(importing, "BATCH", 10)
    monkeypatch.setattr(importing, "BEAT", 1000.0)
    with pytest.raises(ImportInterrupted):
        import_records(project, pairs(30), progress=swept)
    assert not Task.objects.exists() and not Response.objects.exists()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA foreign_keys").fetchone() == (1,)


@pytest.mark.django_db
def test_tasks_are_in_no_queue_until_they_are_published_with_the_slots_that_are_theirs() -> None:
    project = factories.project(overlap=3)
    factories.member(project, username="ada")
    staged: list[int] = []
    records = [
        *pairs(2),
        {"id": "kept", "prompt": "?", "responses": ["a", "b"], "assigned_to": ["ada"]},
        {"id": "done", "prompt": "!", "responses": ["a", "b"], "annotations": [{"annotator": "eve", "choice": "a"}]},
        {"id": "over", "prompt": ".", "responses": ["a", "b"], "need": 1}
        | {"annotations": [{"annotator": name, "choice": "a"} for name in ("eve", "abe")]},
    ]

    def looked(report: ImportReport) -> None:
        staged.extend(Task.objects.values_list("open_slots", flat=True))

    assert import_records(project, records, progress=looked).applied
    assert staged == [0] * 5
    slots = dict(project.tasks.values_list("external_id", "open_slots"))
    assert slots == {"q0": 3, "q1": 3, "kept": 0, "done": 2, "over": 0}


@pytest.mark.django_db
def test_an_import_says_that_it_lives_now_and_then_and_not_with_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    told, beat = [], staging.beat
    monkeypatch.setattr(importing, "BATCH", 1)
    monkeypatch.setattr(staging, "beat", lambda job, read, seconds: told.append(read) or beat(job, read, seconds))
    for often, expected in ((1000.0, [1]), (0.0, [1, 2, 3])):
        monkeypatch.setattr(importing, "BEAT", often)
        told.clear()
        assert import_records(factories.project(), pairs(3)).applied
        assert told == expected


def test_a_new_sqlite_database_has_large_pages_and_one_that_is_there_keeps_its_own(tmp_path: Path) -> None:
    for made_with, expected in ((None, 8192), (4096, 4096)):
        path = tmp_path / f"{expected}.sqlite3"
        if made_with:
            with closing(sqlite3.connect(path)) as made:
                made.execute(f"PRAGMA page_size = {made_with}")
                made.execute("PRAGMA journal_mode = WAL")
                made.execute("CREATE TABLE there (one INTEGER)")
        with closing(sqlite3.connect(path)) as opened:
            opened.executescript(SQLITE_OPTIONS["init_command"])
            opened.execute("CREATE TABLE another (one INTEGER)")
            sizes = [opened.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "journal_mode")]
        assert sizes == [expected, "wal"]
