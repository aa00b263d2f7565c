"""The labeling side of the HTTP API, as DESIGN section 4 fixes it."""

import json
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from annotation import queue
from annotation.jobs import run_import
from annotation.models import Annotation, ApiToken, Assignment, ImportJob, Project, Role, Task
from annotation.models.people import ApiToken as Token
from annotation.tasks import add_tasks
from tests import factories

pytestmark = pytest.mark.django_db
API = "/api/v1"


class Program:
    """Somebody's program, with a bearer token."""

    def __init__(self, person, scope: str = "write") -> None:
        self.person, self.client = person, Client(enforce_csrf_checks=True)
        self.token, secret = ApiToken.issue(person, scope=scope)
        self.headers = {"Authorization": f"Bearer {secret}"}

    def get(self, path: str, **query):
        return self.client.get(API + path, query, headers=self.headers)

    def send(
        self, method: str, path: str, body=None, headers=None, raw: bytes | None = None, content_type="application/json"
    ):
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, API + path, data, content_type, headers=self.headers | (headers or {}))

    def post(self, path: str, body=None, **options):
        return self.send("POST", path, body, **options)


def problem(response, status: int) -> dict:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    shape = response.json()
    assert shape["status"] == status
    assert shape["type"].startswith("urn:hone:problem:")
    assert shape["title"]
    return shape


@pytest.fixture
def project() -> Project:
    return factories.project()


@pytest.fixture
def manager(project) -> Program:
    return Program(factories.member(project, Role.MANAGER, "meg"))


@pytest.fixture
def annotator(project) -> Program:
    return Program(factories.member(project, Role.ANNOTATOR, "ann"))


# Who may come in


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


# Errors


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


# Projects and people


def test_an_admin_makes_a_project_and_manages_it():
    admin = Program(factories.admin())
    body = {"name": "Helpful pairs", "kind": "preference", "overlap": 3, "guidelines": "Be fair."}
    made = admin.post("/projects/", body)
    assert made.status_code == 201
    shown = made.json()
    assert (shown["slug"], shown["overlap"], shown["role"]) == ("helpful-pairs", 3, "manager")
    assert (shown["guidelines"], shown["guideline_version"]) == ("Be fair.", 1)
    assert admin.get(f"/projects/{shown['slug']}/").json() == shown
    assert made.headers["Location"] == f"{API}/projects/helpful-pairs/"
    assert admin.post("/projects/", body).json()["slug"] == "helpful-pairs-2"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"kind": "beauty"}, "kind"),
        ({"overlap": 0}, "overlap"),
        ({"overlap": 11}, "overlap"),
        ({"slug": "not a slug"}, "slug"),
        ({"slug": "new"}, "slug"),
        ({"colour": "red"}, "colour"),
        ({"questions": {"aspects": "all"}}, "questions.aspects"),
        ({"lease_minutes": "soon"}, "lease_minutes"),
    ],
)
def test_a_bad_project_is_refused_by_field(change, field):
    admin = Program(factories.admin())
    response = admin.post("/projects/", {"name": "P", "kind": "preference"} | change)
    assert set(problem(response, 400)["errors"]) == {field}
    assert not Project.objects.exists()


def test_an_annotator_makes_no_projects(annotator):
    problem(annotator.post("/projects/", {"name": "P", "kind": "preference"}), 403)


def test_a_manager_changes_what_is_asked(project, manager):
    questions = {"aspects": [{"name": "kind_words", "required": True}], "rationale": "required"}
    changed = manager.send("PATCH", f"/projects/{project.slug}/", {"questions": questions, "guidelines": "New."})
    assert changed.status_code == 200
    assert changed.json()["questions"]["aspects"][0]["label"] == "Kind words"
    assert changed.json()["guideline_version"] == 1
    manager.send("PATCH", f"/projects/{project.slug}/", {"guidelines": "New."})
    assert project.guideline_versions.count() == 1


def test_the_kind_is_fixed_once_there_are_tasks(project, manager):
    factories.task(project)
    change = manager.send("PATCH", f"/projects/{project.slug}/", {"kind": "rating"})
    assert set(problem(change, 400)["errors"]) == {"kind"}


def test_the_list_holds_ones_own_projects_and_their_roles(project, annotator):
    factories.project()
    listed = annotator.get("/projects/").json()["results"]
    assert [(row["slug"], row["role"]) for row in listed] == [(project.slug, "annotator")]


def test_the_list_is_paged_by_cursor():
    admin = Program(factories.admin())
    slugs = [factories.project().slug for _ in range(5)]
    first = admin.get("/projects/", limit=3).json()
    assert [row["slug"] for row in first["results"]] == slugs[:3]
    rest = admin.client.get(first["next"], headers=admin.headers).json()
    assert [row["slug"] for row in rest["results"]] == slugs[3:]


def test_members_are_added_and_change_their_role(project, manager):
    factories.user("zoe")
    path = f"/projects/{project.slug}/members/"
    assert manager.post(path, {"username": "zoe", "role": "reader"}).status_code == 201
    assert manager.post(path, {"username": "zoe", "role": "reviewer"}).status_code == 200
    listed = manager.get(path).json()["results"]
    assert [(row["username"], row["role"]) for row in listed] == [("meg", "manager"), ("zoe", "reviewer")]
    assert set(problem(manager.post(path, {"username": "nobody", "role": "reader"}), 400)["errors"]) == {"username"}
    assert set(problem(manager.post(path, {"username": "zoe", "role": "boss"}), 400)["errors"]) == {"role"}
    problem(manager.post(path, {"username": "meg", "role": "reader"}), 409)


# Judging


def test_a_leased_task_holds_what_the_contract_says_and_nothing_else(project, annotator):
    responses = [{"text": "one", "source": "secret-model", "score": 0.5}, {"text": "two", "source": "other-model"}]
    record = {"id": "caller-7", "prompt": factories.PROMPT, "responses": responses, "metadata": {"m": 1}}
    add_tasks(project, [record | {"gold": {"choice": 0}}])
    response = annotator.post(f"/projects/{project.slug}/next/")
    assert response.status_code == 200
    task = response.json()
    assert set(task) == {"id", "kind", "prompt", "responses", "lease_until", "draft", "questions"}
    assert [set(row) for row in task["responses"]] == [{"id", "text"}] * 2
    assert task["prompt"] == factories.PROMPT
    assert {row["text"] for row in task["responses"]} == {"one", "two"}
    for hidden in ("secret-model", "caller-7", "gold", "score", "metadata", "position"):
        assert hidden not in response.content.decode()


def test_a_whole_shift(project, annotator):
    for _ in range(2):
        factories.task(project)
    first = annotator.post(f"/projects/{project.slug}/next/").json()
    answer = annotator.post(f"/tasks/{first['id']}/annotations/", {"choice": "b", "strength": 3, "seconds": 4.5})
    assert answer.status_code == 201
    submitted = answer.json()
    assert set(submitted) == {"id", "revision", "next"}
    annotation = Annotation.objects.get(pk=submitted["id"])
    assert annotation.body["choice"] == first["responses"][1]["id"]
    assert annotation.seconds == 4.5
    second = submitted["next"]
    last = annotator.post(f"/tasks/{second['id']}/annotations/", {"choice": "tie"}).json()
    assert last["next"] is None
    assert annotator.post(f"/projects/{project.slug}/next/").status_code == 204


def test_the_next_task_can_be_left_out(project, annotator):
    task = factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    answer = annotator.post(f"/tasks/{task.pk}/annotations/?next=0", {"choice": "a"})
    assert set(answer.json()) == {"id", "revision"}
    assert set(problem(annotator.post(f"/tasks/{task.pk}/annotations/?next=maybe", {}), 400)["errors"]) == {"next"}


def test_a_retry_with_the_same_key_is_the_same_annotation(project, annotator):
    task = factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    answers = [
        annotator.post(f"/tasks/{task.pk}/annotations/", {"choice": "a"}, headers={"Idempotency-Key": "k1"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


def test_bad_answers_are_told_by_field(project, annotator):
    task = factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    shape = problem(annotator.post(f"/tasks/{task.pk}/annotations/", {"choice": "c", "strength": 7}), 400)
    assert set(shape["errors"]) == {"choice", "strength"}
    for body in ([], "a", None, 5):
        problem(annotator.post(f"/tasks/{task.pk}/annotations/", body), 400)


def test_a_lost_lease_on_a_full_task_is_a_409(project, annotator):
    task = factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.expire_leases()
    Program(factories.member(project)).post(f"/projects/{project.slug}/next/")
    shape = problem(annotator.post(f"/tasks/{task.pk}/annotations/", {"choice": "a"}), 409)
    assert shape["type"] == "urn:hone:problem:lease-lost"


def test_a_draft_is_kept_and_comes_back_with_the_task(project, annotator):
    task = factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    kept = annotator.send("PUT", f"/tasks/{task.pk}/draft/", {"rationale": "hm"})
    assert kept.json()["draft"] == {"rationale": "hm"}
    assert annotator.post(f"/projects/{project.slug}/next/").json()["draft"] == {"rationale": "hm"}


def test_skip_and_undo(project, annotator):
    first, second = factories.task(project), factories.task(project)
    annotator.post(f"/projects/{project.slug}/next/")
    skipped = annotator.post(f"/tasks/{first.pk}/skip/", {"reason": "Other reason"})
    assert skipped.json()["next"]["id"] == second.pk
    done = annotator.post(f"/tasks/{second.pk}/annotations/", {"choice": "a", "strength": 2}).json()
    undone = annotator.post(f"/annotations/{done['id']}/undo/")
    assert undone.status_code == 200
    assert undone.json()["id"] == second.pk
    assert undone.json()["draft"]["choice"] == "a"
    problem(Program(factories.member(project)).post(f"/annotations/{done['id']}/undo/"), 404)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("demonstration", {"text": "Water."}),
        ("rating", {"ratings": {"helpful": 5, "correct": 4, "harmless": 3, "clear": 1}}),
        ("ranking", None),
    ],
)
def test_the_other_kinds(kind, body):
    project = factories.project(kind)
    task = factories.task(project)
    program = Program(factories.member(project))
    leased = program.post(f"/projects/{project.slug}/next/").json()
    body = body or {"ranking": [[row["id"] for row in leased["responses"]]]}
    assert program.post(f"/tasks/{task.pk}/annotations/", body).status_code == 201
    problem(program.post(f"/tasks/{task.pk}/annotations/", {"nonsense": 1}), 400)


def test_next_and_submit_take_at_most_eight_statements(project, annotator, django_assert_max_num_queries):
    first, *_ = (factories.task(project) for _ in range(3))
    annotator.get("/projects/")  # notes the token's use, as once a minute
    with django_assert_max_num_queries(8):
        annotator.post(f"/projects/{project.slug}/next/")
    with django_assert_max_num_queries(8):
        annotator.post(f"/tasks/{first.pk}/annotations/?next=0", {"choice": "a"}, headers={"Idempotency-Key": "1"})
    with django_assert_max_num_queries(8):
        annotator.post(f"/projects/{project.slug}/next/")


# Data


def row(number: int, **fields) -> dict:
    return {"id": f"r{number}", "prompt": f"Question {number}", "responses": ["yes", "no"]} | fields


def test_records_are_imported_at_once_and_again_change_nothing(project, manager):
    path = f"/projects/{project.slug}/import/"
    first = manager.post(path, [row(1), row(2)])
    assert first.status_code == 201
    assert (first.json()["created"], first.json()["bad"]) == (2, [])
    assert manager.post(path, [row(1), row(2)]).json()["unchanged"] == 2
    assert project.tasks.count() == 2


def test_a_dry_run_changes_nothing(project, manager):
    checked = manager.post(f"/projects/{project.slug}/import/?dry_run=1", [row(1), {"prompt": 5}])
    assert checked.status_code == 200
    assert (checked.json()["created"], checked.json()["bad_count"], checked.json()["applied"]) == (1, 1, False)
    assert not Task.objects.exists()


def test_bad_records_stop_an_import_unless_they_are_skipped(project, manager):
    path = f"/projects/{project.slug}/import/"
    shape = problem(manager.post(path, [row(1), row(2, prompt="")]), 400)
    assert shape["bad"][0]["line"] == 2
    assert not Task.objects.exists()
    assert manager.post(path + "?skip_bad=1", [row(1), row(2, prompt="")]).json()["created"] == 1


def test_a_file_is_imported(project, manager):
    text = "\n".join(json.dumps(row(number)) for number in range(3))
    upload = SimpleUploadedFile("pairs.jsonl", text.encode())
    response = manager.client.post(f"{API}/projects/{project.slug}/import/", {"file": upload}, headers=manager.headers)
    assert response.status_code == 201
    assert response.json()["created"] == 3


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"[1,", b'{"a": NaN}'])
def test_an_unreadable_import_is_a_400(project, manager, raw):
    problem(manager.post(f"/projects/{project.slug}/import/", raw=raw), 400)
    problem(manager.post(f"/projects/{project.slug}/import/?colour=red", [row(1)]), 400)


@pytest.mark.django_db(transaction=True)
def test_a_large_import_becomes_a_job(project, manager):
    records = [row(number) for number in range(2001)]
    response = manager.post(f"/projects/{project.slug}/import/", records)
    assert response.status_code == 202
    assert response.json()["state"] == "queued"
    job = ImportJob.objects.get()
    run_import.call(job.pk)
    status = manager.client.get(response.headers["Location"], headers=manager.headers).json()
    assert (status["state"], status["report"]["created"]) == ("done", 2001)


def judged(project: Project, *programs: Program) -> Task:
    task = factories.task(project, need=len(programs))
    for program in programs:
        program.post(f"/projects/{project.slug}/next/")
        assert program.post(f"/tasks/{task.pk}/annotations/?next=0", {"choice": "a", "strength": 2}).status_code == 201
    return task


def test_an_annotator_lists_only_their_own_judgements(project, annotator, manager):
    judged(project, annotator, manager)
    mine = annotator.get(f"/projects/{project.slug}/annotations/").json()["results"]
    assert [row["annotator"] for row in mine] == ["ann"]
    both = manager.get(f"/projects/{project.slug}/annotations/").json()["results"]
    assert [row["annotator"] for row in both] == ["meg", "ann"]


def test_the_list_of_judgements_takes_known_filters_only(project, annotator, manager):
    task = judged(project, annotator)
    path = f"/projects/{project.slug}/annotations/"
    assert len(manager.get(path, task=task.pk, annotator="ann", status="submitted").json()["results"]) == 1
    assert manager.get(path, created_after="2999-01-01T00:00:00Z").json()["results"] == []
    for query in ({"body": "a"}, {"task": "x"}, {"task": "9" * 30}, {"status": "odd"}, {"external_id": "a\x00"}):
        assert set(problem(manager.get(path, **query), 400)["errors"]) == set(query)
    problem(annotator.get(path, annotator="meg"), 403)


def test_those_who_train_see_data_without_names(project, annotator):
    judged(project, annotator)
    for role in (Role.TRAINER, Role.READER):
        program = Program(factories.member(project, role))
        for part in ("annotations/", "export/?type=raw", "stats/"):
            answer = program.get(f"/projects/{project.slug}/{part}")
            text = answer.getvalue().decode()
            assert answer.status_code == 200
            assert '"ann"' not in text
            assert "annotator-" in text


def test_raw_rows_have_the_fields_of_the_contract(project, annotator, manager):
    task = judged(project, annotator)
    answer = manager.get(f"/projects/{project.slug}/export/?type=raw&format=jsonl")
    assert answer.streaming
    raw = json.loads(answer.getvalue())
    assert set(raw) == {
        "annotation_id", "task_id", "external_id", "annotator", "revision", "kind", "created_at", "seconds",
        "guideline_version", "body", "status",
    }  # fmt: skip
    assert (raw["task_id"], raw["external_id"], raw["annotator"]) == (task.pk, task.external_id, "ann")
    assert raw["body"]["choice"] in [response.pk for response in task.responses.all()]


def test_training_rows_and_formats(project, annotator, manager):
    judged(project, annotator)
    base = f"/projects/{project.slug}/export/"
    pair = json.loads(manager.get(base, type="preference").getvalue())
    assert {"prompt", "chosen", "rejected"} <= set(pair)
    assert manager.get(base, type="preference", format="parquet").getvalue()[:4] == b"PAR1"
    assert b"annotator" in manager.get(base, type="raw", format="csv").getvalue()
    for query in ({}, {"type": "odd"}, {"type": "raw", "format": "xml"}, {"type": "rating"}, {"type": "raw", "x": "1"}):
        problem(manager.get(base, **query), 400)


def test_agreement_and_stats(project, annotator, manager):
    judged(project, annotator, manager)
    agreement = manager.get(f"/projects/{project.slug}/agreement/").json()
    assert agreement["percent"]["n"] == 1
    grouped = manager.get(f"/projects/{project.slug}/agreement/", a="ann*", b="meg", ties="0")
    assert grouped.status_code == 200
    problem(manager.get(f"/projects/{project.slug}/agreement/", ties="perhaps"), 400)
    trainer = Program(factories.member(project, Role.TRAINER))
    problem(trainer.get(f"/projects/{project.slug}/agreement/", a="ann*"), 403)
    assert manager.get(f"/projects/{project.slug}/stats/").status_code == 200


# The schema


def test_the_schema_has_no_warnings_and_knows_every_call(tmp_path):
    out = tmp_path / "schema.json"
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(out), skip_checks=True
    )
    paths = json.loads(out.read_text())["paths"]
    for call in ("projects/", "projects/{slug}/import/", "projects/{slug}/next/", "tasks/{task_id}/annotations/"):
        assert f"/api/v1/{call}" in paths
    assert all("default" in operation["responses"] for calls in paths.values() for operation in calls.values())


def test_the_schema_and_its_page_are_served(client):
    assert client.get(f"{API}/schema/").status_code == 200
    page = client.get(f"{API}/docs/")
    assert page.status_code == 200
    assert b"<style" not in page.content
    assert client.get(f"{API}/docs/?script=").headers["Content-Type"].startswith("application/javascript")
