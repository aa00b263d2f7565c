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
# Loads Django once and forks a process for each command. One that is to be killed is so where a file is flushed to the
# disk: its last byte is written and it has not got its name yet; in a folder of several that is half way.
COMMANDS = """
import json, os, signal, sys
import django
from django.core.management import execute_from_command_line
django.setup()
for line in sys.stdin:
    killed, words = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if killed:
            os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        execute_from_command_line(["manage.py", *words, "--skip-checks"])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
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

    words = [sys.executable, "-c", COMMANDS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=environment, cwd=ROOT, text=True, bufsize=1, **pipes) as commands:

        def manage(*words: str, killed: bool = False) -> int:
            commands.stdin.write(json.dumps([killed, words]) + "\n")
            return int(commands.stdout.readline())

        assert manage("import_tasks", "pairs", str(path), "--create", "preference") == 0
        for format in ("jsonl", "datasets"):
            out = tmp_path / "out" / format
            out.parent.mkdir(exist_ok=True)
            words = ["export_dataset", "pairs", "--type", "preference", "--format", format, "--out", str(out)]
            assert manage(*words, killed=True) == -signal.SIGKILL
            left = [entry.name for entry in out.parent.iterdir() if entry.name.startswith(f".{format}.")]
            assert left and not out.exists()
            assert manage(*words) == 0
            assert out.exists()
    assert len((tmp_path / "out" / "jsonl").read_text().splitlines()) == RECORDS
