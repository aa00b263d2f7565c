import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import database

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 60
# A file is flushed to the disk when its last byte is written and it has not got its name yet; in a folder of several
# that is half way.
KILLED = """
import os, signal, sys
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@pytest.mark.slow
def test_an_export_killed_before_its_end_leaves_nothing_under_its_name_and_a_second_one_completes(
    tmp_path: Path, migrated: Path
) -> None:
    environment = {**os.environ, "HONE_DATA": str(tmp_path / "data"), "DATABASE_URL": ""}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    (tmp_path / "data").mkdir()
    rows = ({"id": f"q{n}", "prompt": f"{n}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(RECORDS))
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    database.copy(migrated, tmp_path / "data/hone.sqlite3")

    def manage(*words: str, program: tuple[str, ...] = ("manage.py",)) -> int:
        words = (sys.executable, *program, *words)
        return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, check=False).returncode

    assert manage("import_tasks", "pairs", str(path), "--create", "preference") == 0
    for format in ("jsonl", "datasets"):
        out = tmp_path / "out" / format
        out.parent.mkdir(exist_ok=True)
        words = ("export_dataset", "pairs", "--type", "preference", "--format", format, "--out", str(out))
        assert manage(*words, program=("-c", KILLED)) == -signal.SIGKILL
        left = [entry.name for entry in out.parent.iterdir() if entry.name.startswith(f".{format}.")]
        assert left and not out.exists()
        assert manage(*words) == 0
        assert out.exists()
    assert len((tmp_path / "out" / "jsonl").read_text().splitlines()) == RECORDS
