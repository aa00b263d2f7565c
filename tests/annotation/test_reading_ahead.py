import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from annotation import ahead, importing
from annotation.cleaning import CleaningError
from annotation.importing import import_records
from annotation.models import Project, Response, Task
from annotation.reading import UnreadableFile
from tests import factories

ROWS: list[dict[str, Any]] = [
    {"id": f"q{n}", "prompt": f"Which of these is the better word for {n}, “north”?", "responses": [f"a{n}", f"b{n}"]}
    for n in range(10)
]
SAME: dict[str, Any] = {"priority": 0, "need": 2, "open_slots": 2, "done": 0, "is_gold": False, "pool": 0, "skips": 0}


def ended(pid: int) -> bool:
    """Whether it was not only killed but also waited for, so that no zombie stays."""
    return not Path(f"/proc/{pid}").exists()


def stored(project: Project) -> list[Any]:
    tasks = list(Task.objects.filter(project=project).order_by("pk"))
    texts = dict.fromkeys(task.pk for task in tasks)
    for task in tasks:
        rows = Response.objects.filter(task=task).order_by("position")
        texts[task.pk] = list(rows.values_list("position", "text", "source", "params", "score"))
        assert {name: getattr(task, name) for name in SAME} == SAME
    return [(task.external_id, task.prompt, task.metadata, task.gold, task.lot, texts[task.pk]) for task in tasks]


@pytest.mark.django_db
def test_whole_batches_come_in_as_single_records_do_with_the_same_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        *ROWS,
        ROWS[3],
        ROWS[4] | {"id": "again"},
        {"id": "bad", "prompt": "?", "responses": ["x"]},
        ROWS[0] | {"id": "z"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = []
    for at_once, other in ((1000, False), (4, False), (4, True)):
        monkeypatch.setattr(importing, "BATCH", at_once)
        monkeypatch.setattr(ahead, "pays", lambda *_, pays=other: pays)
        project = factories.project(overlap=2)
        report = import_records(project, path, skip_bad=True).as_dict()
        found.append((report, stored(project)))
    assert found[0] == found[1] == found[2]
    report = found[0][0]
    assert (report["created"], report["bad_count"], report["same_prompts"]["count"]) == (12, 2, 2)
    assert [one["line"] for one in report["bad"]] == [11, 13]
    assert "earlier record" in report["bad"][0]["reason"]


@pytest.mark.django_db
def test_what_stops_an_import_stops_the_process_that_reads_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)
    monkeypatch.setattr(ahead, "pays", lambda *_: True)
    started: list[int] = []
    fork = os.fork
    monkeypatch.setattr(os, "fork", lambda: started.append(pid := fork()) or pid)
    project = factories.project()

    def cancelled(report: importing.ImportReport) -> None:
        raise importing.ImportInterrupted("cancelled")

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with pytest.raises(importing.ImportInterrupted):
        import_records(project, path, progress=cancelled)
    path = tmp_path / "rows.csv"
    path.write_text("id,prompt,response_a,response_b\nq,?,a,b\n" * 30 + 'z,?,"a,b\n')
    with pytest.raises(UnreadableFile, match="never closed"):
        import_records(project, path)
    assert len(started) == 2
    assert all(map(ended, started))
    assert not Task.objects.exists()


def test_errors_come_over_whole_and_a_reader_that_dies_is_told() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise CleaningError("prompt", "Is missing.")

    def dying() -> Iterator[int]:
        yield 1
        os._exit(1)

    taken = []
    with pytest.raises(CleaningError) as told, closing(ahead.ahead(broken())) as items:
        taken.extend(items)
    assert (taken, told.value.field, told.value.message) == ([1], "prompt", "Is missing.")
    with pytest.raises(UnreadableFile, match="died"):
        list(ahead.ahead(dying()))


def test_what_is_written_meanwhile_is_brought_to_the_disk_by_the_process_that_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    told.write_bytes(b"")

    def synced(file: int) -> None:
        with told.open("a") as out:
            out.write(f"{os.getpid()} {Path(f'/proc/self/fd/{file}').readlink()}\n")

    monkeypatch.setattr(os, "fdatasync", synced)
    written = [tmp_path / "log", tmp_path / "database"]
    for path in written:
        path.write_bytes(b"")

    def slow() -> Iterator[int]:
        while told.read_text().count("\n") < 4:
            time.sleep(0.01)
        yield os.getpid()

    (reader,) = ahead.ahead(slow(), written)
    assert told.read_text().splitlines()[:4] == [f"{reader} {path}" for path in written] * 2
    assert list(ahead.ahead([1], [tmp_path / "missing"])) == [1]
