"""Hone under the bench: a fresh data folder, `manage.py serve`, and the numbers of what goes in and out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from labeling import serving
from labeling.account import figures
from labeling.client import Client
from labeling.loop import Told, run

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNTS = """
import json, sys
from annotation.models import ApiToken, Membership, Project, User
project = Project.objects.get(slug={slug!r})
crowd = User.objects.count()
people = User.objects.bulk_create([User(username=f"crowd-{{crowd}}-{{n}}", password="!") for n in range({number})])
Membership.objects.bulk_create([Membership(user=one, project=project, role="annotator") for one in people])
reader = User.objects.create(username=f"reader-{{crowd}}", password="!")
Membership.objects.create(user=reader, project=project, role="manager")
print(json.dumps([ApiToken.issue(one)[1] for one in [*people, reader]]))
"""

SESSIONS = """
import json
from django.test import Client
from annotation.models import Membership, Project, User
keys = {{}}
for slug in {slugs!r}:
    person = User.objects.create(username="judge-" + slug, password="!")
    for project in Project.objects.all():
        Membership.objects.create(user=person, project=project, role="annotator")
    client = Client()
    client.force_login(person)
    keys[slug] = client.cookies["sessionid"].value
print(json.dumps(keys))
"""


class Hone:
    """One installation with an empty database."""

    def __init__(self, folder: str, database: str | None) -> None:
        self.environment = os.environ | {"HONE_DATA": folder, "DJANGO_SETTINGS_MODULE": "config.settings"}
        if database:
            self.environment["DATABASE_URL"] = database
        # As installed: the peers, too, have their modules compiled.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.folder = Path(folder)
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"manage.py {words[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout

    def import_file(self, slug: str, path: Path, rows: int) -> dict[str, Any]:
        """How fast `import_tasks` brings a file in, and what memory it takes."""
        self.manage("create_project", slug, "--kind", "preference")
        command = [sys.executable, "manage.py", "import_tasks", slug, str(path)]
        began = time.perf_counter()
        with (self.folder / "import.log").open("w") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
            with serving.watched(process.pid) as peak:
                code = process.wait()
        seconds = time.perf_counter() - began
        if code:
            raise RuntimeError(f"import_tasks failed; see {self.folder / 'import.log'}")
        return {"rows": rows, "seconds": round(seconds, 2), "rows_per_s": round(rows / seconds), "peak_mb": peak[0]}

    def tokens(self, slug: str, number: int) -> list[str]:
        """Tokens of `number` new annotators of the project, and last one that may export."""
        said = self.manage("shell", "-v", "0", "-c", ACCOUNTS.format(slug=slug, number=number))
        return list(json.loads(said.splitlines()[-1]))

    def sessions(self, slugs: list[str]) -> dict[str, str]:
        """The session key of a new annotator for each project, signed in."""
        said = self.manage("shell", "-v", "0", "-c", SESSIONS.format(slugs=slugs))
        return dict(json.loads(said.splitlines()[-1]))

    @contextmanager
    def served(self, workers: int | None, threads: int | None) -> Iterator[tuple[int, list[float]]]:
        """The port, and the peak memory of the whole process tree in MB, which grows while it runs."""
        port = serving.free_port()
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        command += ["--workers", str(workers)] if workers else []
        command += ["--threads", str(threads)] if threads else []
        log = self.folder / "serve.log"
        with serving.running(
            [command], port=port, path="/healthz", environment=self.environment, log=log, cwd=ROOT
        ) as peak:
            yield port, peak


def work(
    hone: Hone, slug: str, people: int, seconds: float, workers: int | None, threads: int | None
) -> dict[str, Any]:
    """`people` judge for a while; then the export says whether each answer is there, once, and nothing else is."""
    *tokens, reader = hone.tokens(slug, people)
    with hone.served(workers, threads) as (port, peak):
        clients = {f"person-{number}": _client(port, token) for number, token in enumerate(tokens)}
        told = run(clients, lambda *given: _judge(slug, *given), seconds=seconds)
        exported = _exported(port, reader, slug)
    return figures(told, exported) | {"annotators": people, "peak_mb": peak[0]}


def export(hone: Hone, slug: str, rows: int, workers: int | None, threads: int | None) -> dict[str, Any]:
    """How fast a raw export of `rows` judgements streams, and when its first byte comes."""
    reader = hone.tokens(slug, 0)[-1]
    with hone.served(workers, threads) as (port, peak):
        idle = peak[0]
        connection = HTTPConnection("127.0.0.1", port, timeout=600)
        began = time.perf_counter()
        path = f"/api/v1/projects/{slug}/export/?type=raw&format=jsonl"
        connection.request("GET", path, headers={"Authorization": f"Bearer {reader}"})
        answer = connection.getresponse()
        first = answer.read(1)
        first_s, lines = time.perf_counter() - began, first.count(b"\n")
        while chunk := answer.read(1 << 20):
            lines += chunk.count(b"\n")
        seconds = time.perf_counter() - began
    lost = rows - lines
    return {
        "rows": lines, "lost": lost, "seconds": round(seconds, 2), "first_byte_s": round(first_s, 3),
        "rows_per_s": round(lines / seconds), "idle_mb": idle, "peak_mb": peak[0],
    }  # fmt: skip


def _client(port: int, token: str) -> Client:
    return Client("127.0.0.1", port, {"Authorization": f"Bearer {token}"})


def _judge(slug: str, client: Client, name: str, count: int, told: Told) -> tuple[int, int] | None:
    """One task asked for and answered, as two requests, the way a program does it."""
    began = time.perf_counter()
    status, task = client.send("POST", f"/api/v1/projects/{slug}/next/")
    between = time.perf_counter()
    if status == 204:
        return None
    if status != 200:
        raise ValueError(f"next answered {status}")
    told.handed.append((name, task["id"]))
    body = {"choice": "ab"[count % 2], "strength": 1 + count % 3}
    path = f"/api/v1/tasks/{task['id']}/annotations/?next=0"
    status, answer = client.send("POST", path, body, **{"Idempotency-Key": f"{name}-{count}"})
    ended = time.perf_counter()
    if status != 201:
        raise ValueError(f"submit answered {status}")
    told.answered(began, between, ended, answer["id"], task["id"])
    return task["id"], answer["id"]


def _exported(port: int, token: str, slug: str) -> list[dict[str, Any]]:
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    path = f"/api/v1/projects/{slug}/export/?type=raw&format=jsonl"
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    return [json.loads(line) for line in connection.getresponse().read().splitlines()]


@contextmanager
def installed(database: str) -> Iterator[Hone]:
    """A fresh installation on `sqlite` or on a throw-away PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        if database == "sqlite":
            yield Hone(folder, None)
            return
        with postgres() as url:
            yield Hone(folder, url)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL."""
    sys.path.append(str(ROOT))  # behind this folder, whose annotation.py is not the application
    from tests import postgres

    with postgres.server() as url:
        yield url
