"""Rows for tests, with the fewest words."""

from itertools import count
from typing import Any

from annotation import tasks as task_rows
from annotation.models import Membership, Project, Role, Task, User

_number = count(1)

PROMPT = [{"role": "user", "content": "Which is heavier, a liter of oil or a liter of water?"}]
RESPONSES = ["Water. Oil floats on it because it is less dense.", "There are several things to consider."]


def user(username: str | None = None, **fields: Any) -> User:
    return User.objects.create_user(username or f"person-{next(_number)}", password="correct horse battery", **fields)


def admin(username: str = "admin") -> User:
    return User.objects.create_superuser(username, password="correct horse battery")


def project(kind: str = "preference", **fields: Any) -> Project:
    number = next(_number)
    fields = {"slug": f"project-{number}", "name": f"Project {number}"} | fields
    return Project.objects.create(kind=kind, **fields)


def member(project: Project, role: str = Role.ANNOTATOR, username: str | None = None) -> User:
    person = user(username)
    Membership.objects.create(user=person, project=project, role=role)
    return person


def task(project: Project, responses: list[str] | None = None, **fields: Any) -> Task:
    number = {"preference": 2, "ranking": 2, "rating": 1, "demonstration": 0}[project.kind]
    texts = RESPONSES[:number] if responses is None else responses
    external_id = fields.pop("id", f"task-{next(_number)}")
    record = {"id": external_id, "prompt": PROMPT, "responses": [{"text": text} for text in texts]} | fields
    task_rows.add_tasks(project, [record])
    return Task.objects.get(project=project, external_id=external_id)
