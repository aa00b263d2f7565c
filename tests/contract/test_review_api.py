"""The reviewer's and the lead's calls of the API, as a program sees them."""

import json
from typing import Any

import pytest
from django.test import Client

from annotation import judging, queue, reviewing
from annotation.models import ApiToken, Project, Role, Task, User
from tests import factories

pytestmark = pytest.mark.django_db


class Program:
    def __init__(self, person: User) -> None:
        self.person, self.client = person, Client()
        self.headers = {"Authorization": f"Bearer {ApiToken.issue(person)[1]}"}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, f"/api/v1{path}", data, "application/json", headers=self.headers)


@pytest.fixture
def project() -> Project:
    return factories.project()


@pytest.fixture
def task(project: Project) -> Task:
    task = factories.task(project, need=2)
    ids = reviewing.order_of(task)
    for number, pk in enumerate(ids):
        person = factories.member(project, username=f"judge-{number}")
        shown = queue.lease_next(project, person).shown
        judging.submit(task, person, {"choice": "ab"[shown.index(pk)], "strength": 3})
    return task


def test_a_program_finds_and_settles_a_disagreement(project: Project, task: Task) -> None:
    reviewer = Program(factories.member(project, Role.REVIEWER))
    (found,) = reviewer("GET", f"/projects/{project.slug}/disputes/?annotator=judge-1&least=6").json()["results"]
    assert (found["task_id"], found["spread"], found["state"]) == (task.pk, 6, "open")
    assert reviewer("GET", f"/projects/{project.slug}/disputes/?annotator=nobody").status_code == 400
    told = reviewer("GET", f"/tasks/{task.pk}/review/").json()
    assert [one["words"] for one in told["verdicts"]] == ["A much better", "B much better"]
    assert told["middle"] == "About the same" and told["may_decide"] is True
    body = {"decision": "overrule", "body": {"choice": "b", "strength": 2}, "seen": told["seen"]}
    made = reviewer("POST", f"/tasks/{task.pk}/adjudications/", body)
    assert made.status_code == 201 and made.json()["body"]["choice"] == told["task"]["responses"][1]["id"]
    assert reviewer("POST", f"/tasks/{task.pk}/adjudications/", body).json()["type"] == "urn:hone:problem:overtaken"
    assert reviewer("POST", f"/adjudications/{made.json()['id']}/withdraw/").status_code == 201
    assert reviewer("POST", f"/tasks/{task.pk}/adjudications/", {"decision": "return"}).status_code == 400
    vote = told["verdicts"][0]["annotation_id"]
    back = {"decision": "return", "annotation": vote, "comment": "Again."}
    assert reviewer("POST", f"/tasks/{task.pk}/adjudications/", back).status_code == 201
    judge = Program(User.objects.get(username="judge-0"))
    leased = judge("POST", f"/projects/{project.slug}/next/").json()
    assert leased["returned"] == "Again." and leased["draft"]["strength"] == 3
    for path in (f"/tasks/{task.pk}/review/", f"/projects/{project.slug}/disputes/"):
        assert judge("GET", path).status_code == 403
    assert judge("POST", f"/tasks/{task.pk}/adjudications/", back).status_code == 403


def test_comments_through_the_api_keep_names_from_annotators(project: Project, task: Task) -> None:
    reviewer = Program(factories.member(project, Role.REVIEWER, "rita"))
    judge = Program(User.objects.get(username="judge-0"))
    reviewer("POST", f"/tasks/{task.pk}/comments/", {"body": "Among us: judge-1 is wrong."})
    unheard = reviewer("POST", f"/tasks/{task.pk}/comments/", {"body": "@judge-1 and @rita, look."}).json()["unheard"]
    assert unheard == ["judge-1"]  # no reviewer, so nobody told them
    said = reviewer("POST", f"/tasks/{task.pk}/comments/", {"body": "Why A?", "to": "judge-0"})
    assert said.status_code == 201 and said.json()["to"] == "judge-0"
    assert [one["body"] for one in judge("GET", f"/tasks/{task.pk}/comments/").json()] == ["Why A?"]
    assert judge("GET", f"/tasks/{task.pk}/comments/").json()[0]["author"] == "Reviewer"
    assert judge("POST", f"/tasks/{task.pk}/comments/", {"body": " "}).status_code == 400


def test_people_are_invited_and_leave_through_the_api(project: Project) -> None:
    manager = Program(factories.member(project, Role.MANAGER))
    base = f"/projects/{project.slug}"
    made = manager("POST", f"{base}/invitations/", {"role": "annotator", "uses": 3}).json()
    assert "/join/" in made["link"]
    (listed,) = manager("GET", f"{base}/invitations/").json()["results"]
    assert "link" not in listed and listed["most_uses"] == 3
    assert manager("DELETE", f"{base}/invitations/{made['id']}/").status_code == 204
    person = factories.member(project, username="leaver")
    assert manager("POST", f"{base}/members/leaver/", {"action": "deactivate"}).json()["is_active"] is False
    refused = manager("POST", f"{base}/members/leaver/", {"action": "pseudonymise"})
    assert refused.status_code == 400 and "confirm" in refused.json()["errors"]
    done = manager("POST", f"{base}/members/leaver/", {"action": "pseudonymise", "confirm": "leaver"}).json()
    person.refresh_from_db()
    assert done["username"] == person.username != "leaver"
    assert manager("DELETE", f"{base}/members/{person.username}/").status_code == 204
    own = manager.person.username
    assert manager("POST", f"{base}/members/{own}/", {"action": "deactivate"}).status_code == 403
    assert manager("DELETE", f"{base}/members/{own}/").json()["type"] == "urn:hone:problem:last-manager"
    assert manager("PATCH", f"{base}/", {"four_eyes": False}).json()["four_eyes"] is False
