"""Label Studio under the bench, as `label-studio start` runs it, on SQLite or on PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from labeling import peers, serving
from labeling.client import Client
from labeling.loop import Told

PACKAGES = ("label-studio==1.23.2",)
TOKEN = "5f2c1d0e9b8a7766554433221100ffeeddccbbaa"
CONFIG = """<View><Text name="prompt" value="$prompt"/><Pairwise name="choice" toName="a,b"/>
<Text name="a" value="$a"/><Text name="b" value="$b"/></View>"""
# Their sign-up form takes half a second for each password; the accounts made here are like its, without passwords.
ACCOUNTS = """
import json
from organizations.models import Organization
from rest_framework.authtoken.models import Token
from users.models import User
organization = Organization.objects.first()
tokens = []
for n in range({number}):
    user = User.objects.create(email=f"crowd-{number}-{{n}}@bench.test", username=f"c{number}-{{n}}", password="!")
    user.active_organization = organization
    user.save()
    organization.add_user(user)
    tokens.append(Token.objects.get_or_create(user=user)[0].key)
print(json.dumps(tokens))
"""


class LabelStudio:
    """One running installation."""

    def __init__(self, programs: Path, folder: Path, environment: dict[str, str], port: int) -> None:
        self.programs, self.folder, self.environment, self.port = programs, folder, environment, port
        self.admin = _client(port, TOKEN)
        self.peak: list[float] = []

    def crowd(self, number: int) -> dict[str, Client]:
        """Clients of new annotators of everything here."""
        manage = next((self.programs.parent / "lib").glob("python3*/site-packages/label_studio/manage.py"))
        command = [self.programs / "python", manage, "shell", "-c", ACCOUNTS.format(number=number)]
        done = subprocess.run(command, env=self.environment, cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Label Studio's accounts could not be made: {done.stderr[-600:]}")
        tokens = json.loads(done.stdout.splitlines()[-1])
        return {f"person-{n}": _client(self.port, token) for n, token in enumerate(tokens)}

    def project(self, title: str) -> int:
        body = {"title": title, "label_config": CONFIG}
        return int(peers.sent(self.admin, "POST", "/api/projects/", body)["id"])

    def import_rows(self, project: int, rows: list[dict[str, Any]]) -> int:
        """How many rows, sent as their API takes them, it counted."""
        body = [_task(row) for row in rows]
        return int(peers.sent(self.admin, "POST", f"/api/projects/{project}/import", body)["task_count"])

    def export(self, project: int) -> list[dict[str, Any]]:
        return list(peers.sent(self.admin, "GET", f"/api/projects/{project}/export?exportType=JSON"))

    def stored(self, project: int) -> list[dict[str, Any]]:
        tasks = self.export(project)
        return [{"annotation_id": one["id"], "task_id": task["id"]} for task in tasks for one in task["annotations"]]


def measured(
    database: str | None, folder: Path, rows: list[dict[str, Any]], *, crowds: list[int], seconds: float, tasks: int
) -> dict[str, Any]:
    """Import, judging by each crowd in a project of its own with `tasks` tasks, and export of `rows` judged pairs."""
    with served(database, folder) as studio:
        found: dict[str, Any] = {"judging": {}, "idle_mb": studio.peak[0]}
        one = studio.project("import")
        bare = [{name: row[name] for name in ("id", "prompt", "responses")} for row in rows]
        found["import"] = peers.timed(lambda: studio.import_rows(one, bare))
        for people in crowds:
            project = studio.project(f"judged by {people}")
            studio.import_rows(project, bare[:tasks])
            clients = studio.crowd(people)
            found["judging"][str(people)] = peers.judged(
                clients,
                lambda *given, project=project: _judge(project, *given),
                seconds,
                lambda project=project: studio.stored(project),
            )
        other = studio.project("export")
        studio.import_rows(other, rows)
        found["export"] = peers.timed(lambda: len(studio.export(other)))
        return found | {"peak_mb": studio.peak[0]}


@contextmanager
def served(database: str | None, folder: Path) -> Iterator[LabelStudio]:
    """A fresh installation on its default database, SQLite, or on the PostgreSQL of the URL."""
    programs, port = peers.installed("label-studio", *PACKAGES), serving.free_port()
    environment = _environment(folder)
    if database:
        user, _, rest = database.removeprefix("postgresql://").partition("@")
        host, _, name = rest.partition("/")
        environment |= {
            "DJANGO_DB": "default", "POSTGRE_USER": user, "POSTGRE_HOST": unquote(host), "POSTGRE_NAME": name
        }  # fmt: skip
    else:
        peers.with_tables("label-studio", folder, "label_studio.sqlite3", lambda kept: _init(programs, kept))
    command = [str(programs / "label-studio"), "start", "--init", "--no-browser", "--port", str(port)]
    command += ["--internal-host", "127.0.0.1", "--username", "lead@bench.test", "--password", "correct-horse-1"]
    command += ["--user-token", TOKEN, "--enable-legacy-api-token", "--log-level", "ERROR"]
    with serving.running(
        [command], port=port, path="/health", environment=environment, log=folder / "server.log", cwd=folder
    ) as peak:
        studio = LabelStudio(programs, folder, environment, port)
        studio.peak = peak
        yield studio


def _environment(folder: Path) -> dict[str, str]:
    found = os.environ | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder), "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false",
        "HOME": str(folder), "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
    }  # fmt: skip
    found.pop("DATABASE_URL", None)
    return found


def _init(programs: Path, folder: Path) -> None:
    command = [programs / "label-studio", "init", "--quiet"]
    subprocess.run(command, env=_environment(folder), cwd=folder, check=True, capture_output=True)


def _task(row: dict[str, Any]) -> dict[str, Any]:
    first, second = row["responses"]
    task: dict[str, Any] = {"data": {"id": row["id"], "prompt": row["prompt"], "a": first, "b": second}}
    if given := row.get("annotations"):
        task["annotations"] = [{"result": [_choice(one["choice"])]} for one in given]
    return task


def _choice(side: str) -> dict[str, Any]:
    value = {"selected": "left" if side == "a" else "right"}
    return {"from_name": "choice", "to_name": "a", "type": "pairwise", "value": value}


def _judge(project: int, client: Client, name: str, count: int, told: Told) -> tuple[int, int] | None:
    """As the page does in a label stream: the next task asked for, its answer sent."""
    began = time.perf_counter()
    status, task = client.send("POST", f"/api/dm/actions/?id=next_task&project={project}", {"project": str(project)})
    between = time.perf_counter()
    if status == 404:
        return None
    if status != 200:
        raise ValueError(f"next answered {status}")
    told.handed.append((name, task["id"]))
    body = {"result": [_choice("ab"[count % 2])], "lead_time": 1.0, "draft_id": 0, "project": project}
    status, answer = client.send("POST", f"/api/tasks/{task['id']}/annotations/?project={project}", body)
    ended = time.perf_counter()
    if status != 201:
        raise ValueError(f"submit answered {status}")
    told.answered(began, between, ended, answer["id"], task["id"])
    return task["id"], answer["id"]


def _client(port: int, token: str) -> Client:
    return Client("127.0.0.1", port, {"Authorization": f"Token {token}"})
