"""The examples of docs/data.md are run, not believed."""

import io
import json
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import call_command

from annotation import shapes
from annotation.incoming import FORMATS

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
FENCES = re.findall(r"^```(\w+) ?([\w.-]*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
IMPORTS = re.compile(r"^manage\.py (import_tasks .*?)  # (\d+) created, (\d+) judgements$", flags=re.MULTILINE)


def test_every_import_on_the_page_brings_in_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = 0
    for language, name, text in FENCES:
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
    assert [name for name in FORMATS if f"`{name}`" not in PAGE] == []
    assert len(shapes.NAMES) == 11
