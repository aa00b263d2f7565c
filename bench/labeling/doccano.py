"""doccano under the bench, as `doccano webserver` and `doccano task` run it, on SQLite."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeling import peers, serving
from labeling.client import Client
from labeling.loop import Told

# Without the two limits its own dependencies no longer start.
PACKAGES = ("doccano==1.8.4", "marshmallow<4", "numpy<2")
TOKEN = """
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
print(Token.objects.get_or_create(user=User.objects.get(username="lead"))[0].key)
"""
# Their page for adding people makes one after the other; the accounts made here are like its, without passwords.
ACCOUNTS = """
import json
from django.contrib.auth.models import User
from projects.models import Member
from rest_framework.authtoken.models import Token
from roles.models import Role
role, tokens = Role.objects.get(name="annotator"), []
for n in range({number}):
    user = User.objects.create(username=f"crowd-{project}-{{n}}", password="!")
    Member.objects.create(user=user, project_id={project}, role=role)
    tokens.append(Token.objects.create(user=user).key)
print(json.dumps(tokens))
"""
STORED = """
import json
from labels.models import Category
rows = Category.objects.filter(example__project={project}).values_list("id", "example")
print(json.dumps([dict(annotation_id=one, task_id=task) for one, task in rows]))
"""


class Doccano:
    """One running installation."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.programs, self.folder, self.port = programs, folder, port
        self.environment = os.environ | {
            "DOCCANO_HOME": str(folder), "HOME": str(folder), "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "config.settings.production", "STANDALONE": "True", "DEBUG": "False",
            "MEDIA_ROOT": str(folder / "media"),
        }  # fmt: skip
        self.peak: list[float] = []
        self.admin = self.client("")

    def client(self, token: str) -> Client:
        return Client("127.0.0.1", self.port, {"Authorization": f"Token {token}"})

    def command(self, *words: str) -> None:
        subprocess.run(
            [self.programs / "doccano", *words], env=self.environment, cwd=self.folder, check=True, capture_output=True
        )

    def shell(self, code: str) -> Any:
        """What `code`, run in its shell, prints as JSON on its last line."""
        backend = next((self.programs.parent / "lib").glob("python3*/site-packages/backend"))
        command = [self.programs / "python", "manage.py", "shell", "-c", code]
        done = subprocess.run(command, env=self.environment, cwd=backend, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"doccano's shell failed: {done.stderr[-600:]}")
        return done.stdout.splitlines()[-1]

    def project(self, name: str) -> tuple[int, list[int]]:
        """A project in which everybody judges what nobody has judged yet, and its two labels."""
        body = {
            "name": name, "description": name, "guideline": "", "project_type": "DocumentClassification",
            "resourcetype": "TextClassificationProject", "random_order": True, "collaborative_annotation": True,
            "single_class_classification": True, "allow_member_to_create_label_type": False, "tags": [],
        }  # fmt: skip
        pk = int(peers.sent(self.admin, "POST", "/v1/projects", body)["id"])
        labels = [{"text": side, "suffix_key": side, "background_color": "#73D8FF"} for side in "ab"]
        path = f"/v1/projects/{pk}/category-types"
        return pk, [int(peers.sent(self.admin, "POST", path, label)["id"]) for label in labels]

    def crowd(self, project: int, number: int) -> dict[str, Client]:
        tokens = json.loads(self.shell(ACCOUNTS.format(project=project, number=number)))
        return {f"person-{n}": self.client(token) for n, token in enumerate(tokens)}

    def import_rows(self, project: int, rows: list[dict[str, Any]]) -> int:
        """How many rows a file of JSON lines brought in, sent as its page does."""
        lines = "".join(json.dumps(_example(row)) + "\n" for row in rows)
        status, upload = self.admin.upload("/v1/fp/process/", "filepond", "rows.jsonl", lines.encode())
        if status != 200:
            raise ValueError(f"The upload answered {status}")
        body = {
            "format": "JSONL", "task": "DocumentClassification", "uploadIds": [upload.decode().strip('"')],
            "column_data": "text", "column_label": "label", "encoding": "utf_8",
        }  # fmt: skip
        self.job(f"/v1/projects/{project}/upload", body)
        return int(peers.sent(self.admin, "GET", f"/v1/projects/{project}/examples?limit=1")["count"])

    def export(self, project: int, rows: int) -> int:
        path = f"/v1/projects/{project}/download"
        task = self.job(path, {"format": "JSONL", "exportApproved": False})
        status, data = self.admin.download(f"{path}?taskId={task}")
        if status != 200 or not data.startswith(b"PK"):
            raise ValueError(f"The export answered {status}")
        return rows

    def job(self, path: str, body: dict[str, Any]) -> str:
        """The id of the task that was started and has ended well."""
        task = str(peers.sent(self.admin, "POST", path, body)["task_id"])

        def ended() -> dict[str, Any] | None:
            state: dict[str, Any] = peers.sent(self.admin, "GET", f"/v1/tasks/status/{task}")
            return state if state["ready"] else None

        if error := peers.until(ended)["error"]:
            raise ValueError(f"doccano's job failed: {error}")
        return task


def measured(
    folder: Path, rows: list[dict[str, Any]], *, crowds: list[int], seconds: float, tasks: int
) -> dict[str, Any]:
    """Import, judging by each crowd in a project of its own with `tasks` tasks, and export of `rows` judged texts."""
    with served(folder) as place:
        found: dict[str, Any] = {"judging": {}, "idle_mb": place.peak[0]}
        bare = [{name: row[name] for name in ("id", "prompt", "responses")} for row in rows]
        one, _ = place.project("import")
        found["import"] = peers.timed(lambda: place.import_rows(one, bare))
        for people in crowds:
            project, labels = place.project(f"judged by {people}")
            place.import_rows(project, bare[:tasks])
            found["judging"][str(people)] = peers.judged(
                place.crowd(project, people),
                lambda *given, project=project, labels=labels: _judge(project, labels, *given),
                seconds,
                lambda project=project: json.loads(place.shell(STORED.format(project=project))),
            )
        other, _ = place.project("export")
        place.import_rows(other, rows)
        found["export"] = peers.timed(lambda: place.export(other, len(rows)))
        return found | {"peak_mb": place.peak[0]}


@contextmanager
def served(folder: Path) -> Iterator[Doccano]:
    """A fresh installation with its web server and its task queue."""
    programs, port = peers.installed("doccano", *PACKAGES), serving.free_port()
    peers.with_tables("doccano", folder, "db.sqlite3", lambda kept: Doccano(programs, kept, port).command("init"))
    place = Doccano(programs, folder, port)
    place.command("createuser", "--username", "lead", "--password", "correct-horse-1")
    place.admin = place.client(place.shell(TOKEN))
    doccano = str(programs / "doccano")
    commands = [[doccano, "webserver", "--port", str(port)], [doccano, "task"]]
    with serving.running(
        commands, port=port, path="/", environment=place.environment, log=folder / "server.log", cwd=folder
    ) as peak:
        place.peak = peak
        yield place


def _example(row: dict[str, Any]) -> dict[str, Any]:
    first, second = row["responses"]
    given = [one["choice"] for one in row.get("annotations", [])]
    return {"text": f"{row['prompt']}\n\nA: {first}\n\nB: {second}", "label": given}


def _judge(
    project: int, labels: list[int], client: Client, name: str, count: int, told: Told
) -> tuple[int, int] | None:
    """As its page does with the filter on what is not done: the example, its labels, a label, and the check mark."""
    base = f"/v1/projects/{project}/examples"
    began = time.perf_counter()
    found = peers.sent(client, "GET", f"{base}?limit=1&offset=0&q=&confirmed=false")["results"]
    if not found:
        return None
    task = int(found[0]["id"])
    peers.sent(client, "GET", f"{base}/{task}/categories")
    between = time.perf_counter()
    told.handed.append((name, task))
    label = peers.sent(client, "POST", f"{base}/{task}/categories", {"label": labels[count % 2]})
    peers.sent(client, "POST", f"{base}/{task}/states", {})
    ended = time.perf_counter()
    told.answered(began, between, ended, label["id"], task)
    return task, int(label["id"])
