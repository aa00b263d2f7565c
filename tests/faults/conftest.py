"""A Hone of its own in a folder: real database file, real worker, real engine, and a test that kills them."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import database
from tests.training.conftest import preferences, tiny_llama, tiny_tokenizer, write_snapshot

ROOT = Path(__file__).resolve().parents[2]

SETUP = """
import json
from pathlib import Path
from django.conf import settings
from annotation.models import Project
from rlhf import registry
from rlhf.models import Snapshot
project = Project.objects.create(slug="faults", name="Faults", kind="preference")
registry.register_folder("tiny", Path(settings.HONE_DATA) / "cache" / "tiny")
path = "snapshots/pairs"
digest = json.loads((Path(settings.HONE_DATA) / path / "manifest.json").read_text())["content_hash"]
Snapshot.objects.create(project=project, name="pairs", type="preference", content_hash=digest, path=path)
"""


@dataclass
class World:
    """One data folder and the processes that work in it."""

    data: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def manage(self, *arguments: str) -> str:
        done = self.tried(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        output = (self.data / f"{arguments[0]}.log").open("ab")
        with output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT, env=self.environment, stdout=output, stderr=output, start_new_session=True, **options,
            )  # fmt: skip
        self.started.append(process)
        return process

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        return kept | {"HONE_DATA": str(self.data), "DJANGO_SETTINGS_MODULE": "config.settings"}

    def run(self, name: str) -> dict[str, Any]:
        """The row of a run, read past Django so that no cache and no transaction of ours is in the way."""
        database = sqlite3.connect(f"file:{self.data}/hone.sqlite3?mode=ro", uri=True)
        database.row_factory = sqlite3.Row
        try:
            return dict(database.execute("SELECT * FROM rlhf_run WHERE name = ?", [name]).fetchone())
        finally:
            database.close()

    def until(self, name: str, condition: Callable[[dict[str, Any]], bool], seconds: float = 90) -> dict[str, Any]:
        """The run's row once the condition holds; the limit only ends a broken test."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            row = self.run(name)
            if condition(row):
                return row
            time.sleep(0.05)
        raise AssertionError(f"After {seconds} s: {row}\n" + (self.data / "worker.log").read_text()[-3000:])

    def folder(self, name: str) -> Path:
        return self.data / "runs" / str(self.run(name)["id"])


@pytest.fixture(scope="session")
def bare_world(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[World]:
    """Migrated, and nothing in it."""
    data = tmp_path_factory.mktemp("faults")
    made = World(data)
    database.copy(migrated, data / "hone.sqlite3")
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for status in data.glob("runs/*/status.json"):
        _kill_engine(json.loads(status.read_text()))


@pytest.fixture(scope="session")
def world(bare_world: World) -> World:
    """With a project, a tiny model and a snapshot to train it on."""
    data = bare_world.data
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(data / "cache" / "tiny")
    tiny_llama(tokenizer).save_pretrained(data / "cache" / "tiny")
    write_snapshot(data / "snapshots" / "pairs", "preference", preferences(48), preferences(16, first=100))
    bare_world.manage("shell", "--verbosity", "0", "-c", SETUP)
    return bare_world


def _kill_engine(status: dict[str, Any]) -> None:
    from training import rundir

    if rundir.is_alive(status.get("pid"), status.get("pid_started")):
        os.kill(status["pid"], 9)
