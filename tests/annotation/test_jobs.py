import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from annotation import jobs, staging
from annotation.importing import import_records
from annotation.models import ImportJob, Project, Task, User
from annotation.raters import Raters
from annotation.records import Checker
from annotation.staging import Staging
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]

ROW = {"id": "q", "prompt": "?", "responses": ["x", "y"], "annotations": [{"annotator": "ann", "choice": "a"}]}


def upload(*rows: object) -> SimpleUploadedFile:
    return SimpleUploadedFile("../Pairs (1).JSONL", "".join(json.dumps(row) + "\n" for row in rows).encode())


def queued(project: Project, *rows: object) -> ImportJob:
    return jobs.start_import(project, upload(*rows), by=None, skip_bad=True)


def begun(project: Project) -> ImportJob:
    """A job as kill -9 leaves it: running, with rows staged."""
    job = ImportJob.objects.create(project=project, state=ImportJob.State.RUNNING, heartbeat=timezone.now())
    Staging(job, Raters(project, None)).add([Checker(project).check(ROW)], purpose="label")
    return job


def test_an_upload_is_kept_under_a_name_of_our_own_and_imported() -> None:
    project = factories.project()
    job = queued(project, ROW, {"prompt": "bad"})
    path = jobs.path_of(job)
    assert path.suffix == ".jsonl"
    assert path.parent == jobs.uploads()
    assert (job.file_name, job.state) == ("Pairs (1).JSONL", "queued")
    jobs.run_import.call(job.pk)
    job.refresh_from_db()
    assert (job.state, job.report["created"], job.report["bad_count"]) == ("done", 1, 1)
    assert not path.exists()
    assert project.tasks.count() == 1


def test_a_file_that_cannot_be_read_ends_the_job_with_a_sentence() -> None:
    job = jobs.start_import(factories.project(), SimpleUploadedFile("x.csv", b""), by=None)
    jobs.run_import.call(job.pk)
    job.refresh_from_db()
    assert (job.state, "holds no records" in job.report["error"]) == ("failed", True)


def test_what_a_killed_import_left_is_out_of_sight_and_swept_away() -> None:
    project = factories.project()
    job = begun(project)
    assert (project.tasks.count(), project.annotations.count()) == (0, 0)
    assert list(Project.objects.visible_to(factories.admin())) == [project]
    assert jobs.sweep() == 0
    ImportJob.objects.update(heartbeat=timezone.now() - timedelta(minutes=5))
    assert jobs.sweep() == 1
    job.refresh_from_db()
    assert (job.state, job.staging, job.report["error"]) == ("failed", None, jobs.DIED)
    assert (Task.objects.count(), Project.objects.count()) == (0, 1)
    assert not User.objects.filter(username="ann").exists()
    assert jobs.sweep() == 0


def test_a_job_that_is_started_again_begins_afresh() -> None:
    project = factories.project()
    left = begun(project)
    fresh = queued(project, ROW)
    ImportJob.objects.filter(pk=left.pk).update(path=fresh.path)
    jobs.run_import.call(left.pk)
    left.refresh_from_db()
    assert (left.state, project.tasks.count(), Project.objects.count()) == ("done", 1, 1)


def test_a_job_that_was_given_up_is_not_started() -> None:
    project = factories.project()
    job = queued(project, ROW)
    ImportJob.objects.filter(pk=job.pk).update(state=ImportJob.State.FAILED)
    jobs.run_import.call(job.pk)
    assert not project.tasks.exists()


def test_discarding_spares_accounts_that_judge_elsewhere() -> None:
    elsewhere = factories.project()
    assert import_records(elsewhere, [ROW]).applied
    job = begun(factories.project())
    job.refresh_from_db()
    assert job.staging is not None
    staging.discard(job.staging)
    assert User.objects.filter(username="ann").exists()


def test_uploads_that_nobody_imported_are_removed(data_folder: Path) -> None:
    project = factories.project()
    job = ImportJob.objects.create(project=project, state="checked", path=jobs.keep(upload(ROW)))
    jobs.sweep()
    assert jobs.path_of(job).exists()
    ImportJob.objects.update(created_at=timezone.now() - timedelta(days=8))
    jobs.sweep()
    assert not jobs.path_of(job).exists()
    assert not ImportJob.objects.exists()
