"""Every file of the hostile corpus gets one clear sentence, by command, API and page, and nothing is half applied."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils.html import escape

from annotation import jobs
from annotation.importing import ImportReport, import_records
from annotation.models import ImportJob, Project, Response, Role, Task
from annotation.reading import UnreadableFile, archives
from tests import factories
from tests.annotation.hostile import CORPUS, Case, fields

pytestmark = pytest.mark.django_db


def outcome(project: Project, path: Path, **options: Any) -> ImportReport | str:
    try:
        return import_records(project, path, **options)
    except UnreadableFile as error:
        return str(error)


def written(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(CORPUS[name][0])
    return path


def is_one_sentence(text: str) -> bool:
    return bool(text.strip()) and "\n" not in text and len(text) < 500 and text.rstrip()[-1] in ".;)"


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 80


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_gets_one_sentence_with_its_line_and_field(name: str, tmp_path: Path) -> None:
    _, line, field, words = CORPUS[name]
    project = factories.project()
    found = outcome(project, written(tmp_path, name))
    if line is None:
        assert isinstance(found, ImportReport), found
        assert found.applied, found.bad
        assert project.tasks.count() == found.created > 0
        return
    assert not Task.objects.exists() and not Response.objects.exists()
    if line == 0:
        assert isinstance(found, str), found
        assert words in found and is_one_sentence(found)
        return
    assert isinstance(found, ImportReport), found
    (problem,) = found.bad
    assert (problem.line, problem.field) == (line, field)
    assert words in problem.reason and is_one_sentence(problem.reason)


def told(case: Case, answer: Any) -> None:
    """What a program is told about a case."""
    _, line, field, words = case
    assert answer.status_code == (201 if line is None else 400), answer.content
    if line is None:
        return
    body = answer.json()
    if line == 0:
        assert words in json.dumps(body, ensure_ascii=False)
        return
    assert (body["bad"][0]["line"], body["bad"][0]["field"]) == (line, field)


@pytest.fixture
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound itself is tried by the files' own tests; unpacking 64 MB again and again would prove nothing more."""
    monkeypatch.setattr(archives, "LEAST_UNPACKED", 1 << 20)


@pytest.mark.usefixtures("data_folder", "small_bombs")
def test_the_api_says_the_same_and_never_fails() -> None:
    client = Client()
    client.force_login(factories.admin())
    project = factories.project()
    for name, case in CORPUS.items():
        answer = client.post(f"/api/v1/projects/{project.slug}/import/", {"file": SimpleUploadedFile(name, case[0])})
        if answer.status_code == 202:
            jobs.run_import.call(answer.json()["id"])
            job = ImportJob.objects.get(pk=answer.json()["id"])
            assert (job.state == "done") == (case[1] is None), name
            assert case[3] in json.dumps(job.report, ensure_ascii=False), name
            continue
        try:
            told(case, answer)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
        if case[1] is None:  # the next file should find nothing to be compared with
            project = factories.project()


@pytest.mark.usefixtures("data_folder", "small_bombs")
def test_the_page_says_the_same_and_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "is_small", lambda path: True)
    project, client, sent = factories.project(), Client(), set()
    manager = factories.member(project, Role.MANAGER)
    client.force_login(manager)
    url = f"/projects/{project.slug}/import/"
    for name, (data, line, _, words) in CORPUS.items():
        upload, readable = SimpleUploadedFile(name, data), line != 0 and bool(data)
        if (kind := (readable, Path(name).suffix)) not in sent:  # the form itself, once for each kind of file
            sent.add(kind)
            answer = client.post(url, {"file": upload})
            assert answer.status_code == (302 if readable else 422), name
            text = client.get(answer.url).content.decode() if readable else answer.content.decode()
        else:
            job = jobs.start_check(project, upload, by=manager)
            assert job.state == ("checked" if readable else "failed"), name
            text = escape(job.report.get("error", ""))
            if readable:  # the part of the page that tells of the file
                answer = client.get(f"{url}{job.pk}/live/")
                assert answer.status_code == 200, name
                text = answer.content.decode()
        harmless = text.replace("&lt;img src=x onerror=alert", "")
        assert "<script>alert" not in text and "onerror=alert" not in harmless, name
        if line is not None and data:
            assert escape(words) in text, name
    assert not project.tasks.exists()


def test_harmful_texts_come_in_as_they_are(tmp_path: Path) -> None:
    project = factories.project()
    outcome(project, written(tmp_path, "markup-everywhere.jsonl"))
    task = project.tasks.get()
    assert (task.external_id, task.last_message) == (fields.SCRIPT, fields.SCRIPT)
    assert task.metadata == {fields.SCRIPT: fields.SCRIPT}
    outcome(project, written(tmp_path, "ids-by-unicode-form.jsonl"))
    assert project.tasks.filter(external_id__startswith="caf").count() == 2
    outcome(project, written(tmp_path, "formula-cells.csv"))
    assert project.tasks.filter(external_id="1").get().last_message == "=1+1"
