"""The import wizard, through HTTP."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from annotation import jobs
from annotation.models import ImportJob, Project, Role
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]

GOOD = {"id": "1", "prompt": "Wet?", "responses": ["Yes, **wet**.", "No."]}
ASKED = {"question": "Wet?", "answer_1": "Yes.", "answer_2": "No.", "lang": "en", "mail": "a@b.org"}


def upload(*records: Any, name: str = "pairs.jsonl") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, "".join(json.dumps(record) + "\n" for record in records).encode())


@pytest.fixture
def project() -> Project:
    return factories.project(overlap=3)


@pytest.fixture
def client(project: Project) -> Client:
    browser = Client()
    browser.force_login(factories.member(project, Role.MANAGER))
    return browser


def sent(client: Client, project: Project, **fields: Any) -> Any:
    return client.post(f"/projects/{project.slug}/import/", fields)


def test_an_import_is_checked_before_it_writes(client: Client, project: Project, data_folder: Path) -> None:
    checked = sent(client, project, file=upload(GOOD, {"id": "2"}, GOOD | {"id": "3", "prompt": "wet"}))
    job = ImportJob.objects.get()
    assert checked.url == f"/projects/{project.slug}/import/{job.pk}/"
    html = client.get(checked.url).content.decode()
    assert "<strong>wet</strong>" in html and "1 bad record" in html and "Says the same as line 1" in html
    assert "JSONL, one object a line" in html and "6, 3 each" in html
    assert project.tasks.count() == 0
    table = b"".join(client.get(checked.url + "problems/")).decode()
    assert table.splitlines() == ["line,field,reason", "2,prompt,Is missing."]
    assert "1 of the first 2" in html and "2 of the first 2" in client.get(checked.url + "?row=2").content.decode()
    assert client.post(checked.url, {"skip_bad": "1"}).url == f"/projects/{project.slug}/"
    assert project.tasks.count() == 2
    assert list((data_folder / "uploads" / "imports").iterdir()) == []
    assert "This import is done" in client.get(checked.url).content.decode()
    assert client.post(checked.url, {}).url == checked.url
    assert project.tasks.count() == 2


def test_fields_can_be_mapped_and_the_next_file_remembers(client: Client, project: Project) -> None:
    path = sent(client, project, file=upload(ASKED)).url
    assert "Import 1 item<" in client.get(path).content.decode()  # guessed from the names
    fields = ["question", "answer_1", "answer_2", "lang", "mail"]
    wrong = {"field": fields, "becomes": ["prompt", "response_1", "response_1", "tag", "leave_out"]}
    answer = client.post(path + "mapping/", wrong, headers={"HX-Request": "true"})
    assert answer.status_code == 422 and "becomes response_1 already" in answer.content.decode()
    right = {"field": fields, "becomes": ["prompt", "response_2", "response_1", "tag", "leave_out"]}
    answer = client.post(path + "mapping/", right, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and 'id="check"' in answer.content.decode()
    client.post(path, {})
    task = project.tasks.get()
    assert [row.text for row in task.responses.order_by("position")] == ["No.", "Yes."]
    assert task.metadata == {"lang": "en"}
    sent(client, project, file=upload(ASKED | {"question": "Dry?"}))
    mapping = ImportJob.objects.latest("pk").report["source"]["mapping"]
    assert (mapping["answer_1"], mapping["mail"]) == ("response_2", "leave_out")
    assert "Remembered from an earlier file" in client.get(latest(project)).content.decode()
    guessed = client.post(latest(project) + "mapping/", {"guess": "1"}, headers={"HX-Request": "true"})
    assert "Guessed from names" in guessed.content.decode()


def latest(project: Project) -> str:
    return f"/projects/{project.slug}/import/{ImportJob.objects.latest('pk').pk}/"


def test_what_was_said_of_fields_holds_for_command_and_api_and_can_be_changed_and_forgotten(
    client: Client, project: Project, tmp_path: Path
) -> None:
    path, api = tmp_path / "asked.jsonl", f"/api/v1/projects/{project.slug}/mappings/"
    path.write_text(json.dumps({"q": "Wet?", "x": "Yes.", "y": "No.", "note": "n"}))
    said = ["prompt=q", "response_a=x", "response_b=y", "tag=note"]
    quiet = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    call_command("import_tasks", project.slug, path, **quiet, map=said)
    (kept,) = client.get(api).json()["results"]
    assert (kept["columns"], kept["becomes"]["x"]) == (["note", "q", "x", "y"], "response_1")
    changed = kept["becomes"] | {"x": "response_2", "y": "response_1"}
    one, plain = f"{api}{kept['id']}/", {"content_type": "application/json"}
    assert client.patch(one, {"becomes": changed | {"note": "odd"}}, **plain).status_code == 400
    assert client.patch(one, {"becomes": changed}, **plain).json()["becomes"] == changed
    path.write_text(json.dumps({"q": "Dry?", "x": "Yes.", "y": "No."}))  # an optional field is missing
    call_command("import_tasks", project.slug, path, **quiet)
    task = project.tasks.get(prompt__0__content="Dry?")
    assert [row.text for row in task.responses.order_by("position")] == ["No.", "Yes."]
    with pytest.raises(CommandError, match="one record is"):
        call_command("import_tasks", project.slug, path, **quiet, guess=True)
    page = client.get(f"/projects/{project.slug}/import/").content.decode()
    assert "What fields became" in page and "Response 2" in page
    other = factories.project()
    assert client.post(f"/projects/{other.slug}/import/mappings/{kept['id']}/forget/").status_code == 404
    client.post(f"/projects/{project.slug}/import/mappings/{kept['id']}/forget/")
    assert client.get(api).json()["results"] == [] and client.delete(one).status_code == 404


def test_personal_data_are_counted_shown_by_line_and_left_out_of_tags(client: Client, project: Project) -> None:
    rows = [ASKED | {"question": f"Call {n}?", "mail": f"p{n}@b.org"} for n in range(4)]
    rows[2]["answer_1"] = "Call 0171 234 5678."
    job = sent(client, project, file=upload(*rows)).url
    html = client.get(job).content.decode()
    assert "Looks like an e-mail address in 4 records, first in lines 1, 2, 3, 4" in html
    assert "Looks like a telephone number in 1 record<" in html and "p1@b.org" not in html
    assert "hidden, looks personal" in html and "UTF-8, no BOM" in html
    client.post(job, {})
    assert project.tasks.count() == 4 and not project.tasks.filter(metadata__has_key="mail").exists()


def test_the_page_takes_whose_judgement_a_pair_is_the_format_the_purpose_and_metadata(
    client: Client, project: Project
) -> None:
    said = {"format": "trl-texts", "annotator": "Ann", "purpose": "evaluation", "metadata": "batch=may\n\nlang=en"}
    pair = {"chosen": "Wet? Yes.", "rejected": "Wet? No."}
    refused = sent(client, project, file=upload(pair), **said | {"metadata": "batch"})
    assert refused.status_code == 422 and "Takes KEY=VALUE, not “batch”." in refused.content.decode()
    assert client.post(sent(client, project, file=upload(pair), **said).url, {}).status_code == 302
    task = project.tasks.get()
    assert (task.purpose, task.metadata) == ("evaluation", {"batch": "may", "lang": "en"})
    assert task.annotations.get().annotator.label == "Ann"


def test_a_file_that_cannot_be_read_is_refused_in_words(client: Client, project: Project) -> None:
    for fields in ({"file": upload("x", name="odd.bin")}, {}, {"source": "no name"}):
        answer = sent(client, project, **fields)
        assert answer.status_code == 422 and b'class="error"' in answer.content
    assert not ImportJob.objects.exists()


def test_a_large_file_is_checked_and_imported_by_the_worker(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "SMALL_BYTES", 10)
    path = sent(client, project, file=upload(GOOD)).url
    job = ImportJob.objects.get()
    page = client.get(path)
    assert "Waits for the worker" in page.content.decode()
    live = client.get(path + "live/")
    assert 'hx-trigger="every 1s"' in live.content.decode()
    assert client.get(path + "live/", headers={"If-None-Match": live.headers["ETag"]}).status_code == 304
    jobs.run_import.call(job.pk)
    after = client.get(path + "live/", headers={"If-None-Match": live.headers["ETag"]}).content.decode()
    assert "Import 1 item" in after and 'hx-trigger="every' not in after
    assert client.post(path, {}).url == path
    assert "Importing" in client.get(path).content.decode()
    jobs.run_import.call(job.pk)
    assert project.tasks.count() == 1
    job.refresh_from_db()
    assert job.state == "done"


def test_a_waiting_import_can_be_cancelled(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    monkeypatch.setattr(jobs, "SMALL_BYTES", 10)
    path = sent(client, project, file=upload(GOOD)).url
    client.post(path + "cancel/")
    job = ImportJob.objects.get()
    jobs.run_import.call(job.pk)
    assert jobs.CANCELLED in client.get(path).content.decode()
    assert list((data_folder / "uploads" / "imports").iterdir()) == []
    assert not project.tasks.exists()


def test_a_hub_dataset_is_left_to_the_worker_which_says_when_there_is_no_network(
    client: Client, project: Project
) -> None:
    path = sent(client, project, source="trl-lib/tldr-preference").url
    job = ImportJob.objects.get()
    assert (job.state, job.file_name) == ("queued", "hf:trl-lib/tldr-preference")
    jobs.run_import.call(job.pk)
    assert "The hub is switched off here" in client.get(path).content.decode()


@pytest.mark.parametrize("part", ["", "live/", "problems/"])
def test_strangers_and_annotators_see_no_import(client: Client, project: Project, part: str) -> None:
    path = sent(client, project, file=upload(GOOD)).url + part
    browser = Client()
    browser.force_login(factories.user())
    assert browser.get(path).status_code == 404
    browser.force_login(factories.member(project))
    assert browser.get(path).status_code == 403


def test_the_api_takes_a_mapping_and_a_hub_dataset(client: Client, project: Project) -> None:
    path = f"/api/v1/projects/{project.slug}/import/"
    record = {"q": "Wet?", "x": "Yes.", "y": "No."}
    mapping = json.dumps({"q": "prompt", "x": "response_a", "y": "response_b"})
    answer = client.post(f"{path}?map={mapping}", json.dumps([record]), content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert answer.json()["source"]["mapping"] == {"q": "prompt", "x": "response_1", "y": "response_2"}
    assert project.tasks.get().last_message == "Wet?"
    wrong = client.post(f"{path}?map=[1]", json.dumps([record]), content_type="application/json")
    assert wrong.status_code == 400 and "map" in wrong.json()["errors"]
    queued = client.post(f"{path}?hub=team/pairs", b"", content_type="application/json")
    assert (queued.status_code, queued.json()["file_name"]) == (202, "hf:team/pairs")
    assert client.post(f"{path}?hub=x", b"", content_type="application/json").status_code == 400
