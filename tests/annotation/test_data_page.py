"""The examples of docs/data.md are run, not believed."""

import io
import json
import re
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from django.core.management import call_command

from annotation import shapes
from annotation.incoming import FORMATS

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
FENCE = re.compile(r"^```(\w+) ?([\w.-]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
INWARD, _, OUTWARD = PAGE.partition("# Data out\n")
IMPORTS = re.compile(r"^manage\.py (import_tasks .*?)  # (\d+) created, (\d+) judgements$", flags=re.MULTILINE)

COMMANDS = re.compile(r"^manage\.py ((?:export_dataset|withdraw) .*?)(?:  # (\d+) rows)?$", flags=re.MULTILINE)


def test_every_export_on_the_page_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = 0
    for language, name, text in FENCE.findall(OUTWARD):
        if name:
            (tmp_path / name).write_text(text)
        for line in text.splitlines() if language == "sh" else []:
            words = shlex.split(line.partition("  #")[0])[1:]
            told = io.StringIO()
            call_command(*words, stdout=told, stderr=io.StringIO())
            if found := IMPORTS.match(line):
                report = json.loads(told.getvalue())
                assert (report["created"], report["annotations"]) == (int(found[2]), int(found[3])), line
            elif (rows := COMMANDS.match(line)) and rows[2]:
                assert rows_in(tmp_path / words[-1]) == int(rows[2]), line
            run += 1
    assert run == len(re.findall(r"^manage\.py", OUTWARD, flags=re.MULTILINE)) == 17


def rows_in(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(pq.read_table(path).num_rows)
    return len(path.read_text().splitlines()) - (path.suffix == ".csv")


def test_every_import_on_the_page_brings_in_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = 0
    for language, name, text in FENCE.findall(INWARD):
        if name:
            (tmp_path / name).write_text(text)
        elif language == "python" and "save_to_disk" in text:
            exec(text, {})
        for words, created, judged in IMPORTS.findall(text) if language == "sh" else []:
            out = io.StringIO()
            call_command(*shlex.split(words), stdout=out, stderr=io.StringIO())
            told = json.loads(out.getvalue())
            assert (told["created"], told["annotations"]) == (int(created), int(judged)), words
            run += 1
    assert run >= 14


def test_the_page_names_every_format() -> None:
    assert shapes.NAMES and [name for name in FORMATS if f"`{name}`" not in PAGE] == []
