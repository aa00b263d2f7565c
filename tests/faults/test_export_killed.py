import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import database

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 6000


def manage(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *words]


@pytest.mark.slow
def test_an_export_killed_half_way_leaves_nothing_under_its_name_and_a_second_one_completes(
    tmp_path: Path, migrated: Path
) -> None:
    environment = {**os.environ, "HONE_DATA": str(tmp_path / "data"), "DATABASE_URL": ""}
    (tmp_path / "data").mkdir()
    rows = ({"id": f"q{n}", "prompt": f"{n}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(RECORDS))
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    database.copy(migrated, tmp_path / "data/hone.sqlite3")
    words = manage("import_tasks", "pairs", str(path), "--create", "preference")
    subprocess.run(words, env=environment, check=True, capture_output=True)
    for format in ("jsonl", "datasets"):
        out = tmp_path / "out" / format
        out.parent.mkdir(exist_ok=True)
        words = manage("export_dataset", "pairs", "--type", "preference", "--format", format, "--out", str(out))
        with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as running:
            deadline = time.monotonic() + 60  # only so that a broken test ends
            while not _has_begun(out) and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            running.send_signal(signal.SIGKILL)
        assert running.returncode == -signal.SIGKILL
        assert not out.exists()
        subprocess.run(words, env=environment, check=True, capture_output=True)
        assert out.exists()
    assert len((tmp_path / "out" / "jsonl").read_text().splitlines()) == RECORDS


def _has_begun(out: Path) -> bool:
    return any(path.name.startswith(f".{out.name}.") for path in out.parent.iterdir())
