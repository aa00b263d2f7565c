"""The annotator's calls: next, submit, draft, skip, undo."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import queue
from annotation.models import Annotation, Assignment
from annotation.tasks import add_tasks
from tests import factories
from tests.contract.program import Program, problem

pytestmark = pytest.mark.django_db


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
    other = annotator.post(f"/tasks/{task.pk}/annotations/", {"choice": "b"}, headers={"Idempotency-Key": "k1"})
    shape = problem(other, 422)
    assert shape["type"] == "urn:hone:problem:key-reused" and "another answer before" in shape["title"]
    assert Annotation.objects.count() == 1


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
    for silent in ({}, {"reason": " "}):
        assert "Say why" in problem(annotator.post(f"/tasks/{first.pk}/skip/", silent), 400)["errors"]["reason"][0]
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
