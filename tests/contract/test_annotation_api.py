"""The labeling side of the HTTP API, as DESIGN section 4 fixes it: who may come in, how errors look, the schema."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from annotation.models.people import ApiToken as Token
from tests import factories
from tests.contract.program import API, Program, problem

pytestmark = pytest.mark.django_db


def test_a_token_opens_the_api_and_its_use_is_noted_once_a_minute(project, annotator):
    assert annotator.get("/projects/").status_code == 200
    annotator.token.refresh_from_db()
    noted = annotator.token.last_used_at
    assert noted is not None
    annotator.get("/projects/")
    annotator.token.refresh_from_db()
    assert annotator.token.last_used_at == noted


@pytest.mark.parametrize("header", [None, "Bearer hone_wrong", "Bearer", "Bearer \u00e9", "Basic eDp5", "Bearer  "])
def test_without_a_good_token_the_answer_is_401(client, header):
    response = client.get(f"{API}/projects/", headers={"Authorization": header} if header else {})
    problem(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_expired_tokens_and_closed_accounts_are_out(annotator):
    Token.objects.filter(pk=annotator.token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    problem(annotator.get("/projects/"), 401)
    Token.objects.filter(pk=annotator.token.pk).update(expires_at=timezone.now() + timedelta(days=1))
    annotator.person.is_active = False
    annotator.person.save(update_fields=["is_active"])
    problem(annotator.get("/projects/"), 401)


def test_a_token_to_read_cannot_write(project):
    program = Program(factories.member(project), scope="read")
    assert program.get(f"/projects/{project.slug}/").status_code == 200
    problem(program.post(f"/projects/{project.slug}/next/"), 403)


def test_a_session_needs_the_csrf_token_to_write(project):
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.member(project))
    assert client.get(f"{API}/projects/").status_code == 200
    problem(client.post(f"{API}/projects/{project.slug}/next/"), 403)


@pytest.mark.parametrize(
    "part", ["", "members/", "agreement/", "stats/", "annotations/", "export/?type=raw", "imports/1/"]
)
def test_a_stranger_gets_404(project, part):
    stranger = Program(factories.user())
    problem(stranger.get(f"/projects/{project.slug}/{part}"), 404)
    problem(stranger.get(f"/projects/no-such-project/{part}"), 404)


def test_a_stranger_cannot_judge(project):
    task = factories.task(project)
    stranger = Program(factories.user())
    problem(stranger.post(f"/projects/{project.slug}/next/"), 404)
    for method, part in (("POST", "annotations/"), ("POST", "skip/"), ("PUT", "draft/")):
        problem(stranger.send(method, f"/tasks/{task.pk}/{part}", {"choice": "a"}), 404)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("annotator", {"next"}),
        ("reviewer", {"next", "members", "stats", "export"}),
        ("trainer", {"stats", "export"}),
        ("manager", {"next", "members", "stats", "export", "patch"}),
        ("reader", {"stats", "export"}),
    ],
)
def test_each_role_may_do_its_part(project, role, allowed):
    program = Program(factories.member(project, role))
    base = f"/projects/{project.slug}/"
    answers = {
        "next": program.post(f"{base}next/"),
        "members": program.get(f"{base}members/"),
        "stats": program.get(f"{base}stats/"),
        "export": program.get(f"{base}export/?type=raw"),
        "patch": program.send("PATCH", base, {"daily_goal": 5}),
    }
    assert {name for name, answer in answers.items() if answer.status_code in (200, 204)} == allowed
    assert {answer.status_code for name, answer in answers.items() if name not in allowed} <= {403}


def test_every_error_is_a_problem(project, annotator):
    problem(annotator.get("/no/such/address/"), 404)
    problem(annotator.get(f"/projects/{project.slug}/next/"), 405)
    problem(annotator.post("/tasks/99999999999999999999999/annotations/", {}), 404)
    problem(
        annotator.post(f"/tasks/{factories.task(project).pk}/annotations/", raw=b"<x/>", content_type="text/xml"), 415
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"choice": NaN}',
        b'{"choice": "a", "choice": "b"}',
        b'{"rationale": "\\u0000"}',
        b'{"rationale": "\\ud800"}',
        b"[" * 100_000,
        b'{"strength": 1e999}',
        b"\xff\xfe\x00",
        b'{"rationale": "\xe9"}',
    ],
)
def test_what_json_forbids_is_a_400(project, annotator, raw):
    task = factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    problem(annotator.post(f"/tasks/{task.pk}/annotations/", raw=raw), 400)


def test_a_huge_body_is_a_413(project, annotator, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    problem(annotator.post(f"/tasks/{factories.task(project).pk}/annotations/", {"rationale": "x" * 2000}), 413)


@pytest.mark.parametrize("limit", ["0", "201", "x", "-1", "²", "9" * 50])
def test_pages_have_1_to_200_rows(annotator, limit):
    assert set(problem(annotator.get("/projects/", limit=limit), 400)["errors"]) == {"limit"}


def test_the_schema_has_no_warnings_and_knows_every_call(tmp_path):
    out = tmp_path / "schema.json"
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(out), skip_checks=True
    )
    paths = json.loads(out.read_text())["paths"]
    for call in ("projects/", "projects/{slug}/import/", "projects/{slug}/next/", "tasks/{task_id}/annotations/"):
        assert f"/api/v1/{call}" in paths
    assert all("default" in operation["responses"] for calls in paths.values() for operation in calls.values())


def test_the_schema_is_served(client):
    assert client.get(f"{API}/schema/").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_where_there_is_nothing_the_answer_is_404_for_every_method(method):
    answer = Client(enforce_csrf_checks=True).generic(method, f"{API}/nowhere/", "{}", "application/json")
    assert "nothing at this address" in problem(answer, 404)["title"]
