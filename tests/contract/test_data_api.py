"""What goes in and comes out over HTTP: imports, judgements, exports, agreement."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation.jobs import run_import
from annotation.models import ImportJob, Project, Role, Task
from tests import factories
from tests.contract.program import API, Program, problem

pytestmark = pytest.mark.django_db


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


def test_whose_judgements_they_are_what_for_and_what_to_add_are_said_as_by_command(project, manager):
    path = f"/projects/{project.slug}/import/"
    pair = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    told = "?annotator=crowd&purpose=evaluation&metadata=%7B%22batch%22%3A%22may%22%7D"
    assert manager.post(path + told, [pair]).json()["annotations"] == 1
    assert manager.post(path + "?annotator=", [pair | {"prompt": "Who?"}]).json()["annotations"] == 0
    task = project.tasks.get(annotations__annotator__username="crowd")
    assert (task.purpose, task.metadata) == ("evaluation", {"batch": "may"})
    for wrong in ("metadata=3", "metadata=%7B", "purpose=fun"):
        assert wrong.split("=")[0] in problem(manager.post(f"{path}?{wrong}", [pair]), 400)["errors"]


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
    for tool, part in (("label-studio", "annotations"), ("argilla", "responses")):
        assert json.loads(manager.get(base, type="raw", format=tool).getvalue())[0][part]
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
