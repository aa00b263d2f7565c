"""Imports too large to wait for: done by the worker, told in an ImportJob, given up when their worker died."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_tasks import task

from annotation import importing, staging
from annotation.cleaning import CleaningError, storable
from annotation.importing import ImportInterrupted
from annotation.models import ImportJob, Project, User
from annotation.reading import SUFFIXES, UnreadableFile
from annotation.writes import write_transaction

log = logging.getLogger(__name__)

SILENCE = timedelta(minutes=2)  # an import that lives tells so at every thousand records
LEAVINGS = timedelta(days=7)  # uploads that nobody imported are removed
DIED = "The worker died while it imported; nothing was changed, so start the import again."
CANCELLED = "The import was cancelled; nothing was changed."
OPTIONS = (
    "format",
    "update",
    "skip_bad",
    "annotator",
    "metadata",
    "purpose",
    "mapping",
    "dry_run",
    "source",
    "guess",
    "careful",
)
SMALL_BYTES, SMALL_PACKED = 2 * 1024**2, 20 * 1024  # what is read while somebody waits; packed files hold far more
PACKED = (b"\x1f\x8b", b"PK", b"PAR1")


def start_import(project: Project, upload: File[bytes], *, by: User | None, **options: Any) -> ImportJob:
    """Keep the upload and queue its import; `options` are import_records' own."""
    if strange := options.keys() - set(OPTIONS):
        raise TypeError(f"start_import has no option {min(strange)}")
    job = ImportJob.objects.create(
        project=project,
        created_by=by,
        file_name=Path(upload.name or "").name[:200],
        path=keep(upload),
        options=options,
    )
    queue(job)
    return job


def start_check(project: Project, upload: File[bytes] | None, *, by: User, **options: Any) -> ImportJob:
    """Keep an upload, or the name of a hub dataset (option `source`), and check it: nothing is written before confirm.

    What this person checked before and did not import is forgotten.
    """
    for stale in project.imports.filter(created_by=by, state=ImportJob.State.CHECKED):
        forget(stale)
    name = options.get("source") or Path(upload.name or "" if upload else "").name
    job = ImportJob.objects.create(
        project=project,
        created_by=by,
        file_name=name[:200],
        path=keep(upload) if upload else "",
        options=options | {"dry_run": True, "careful": True},
    )
    carry_out_or_queue(job)
    return job


def check_again(job: ImportJob, mapping: dict[str, str] | None) -> bool:
    """Check with another mapping, or None for a guess; False when the job is no longer waiting for one."""
    return _restart(job, job.options | {"mapping": mapping, "guess": mapping is None, "dry_run": True})


def confirm(job: ImportJob, *, skip_bad: bool, update: bool) -> bool:
    """Import what was checked; False when somebody did already."""
    options = {name: value for name, value in job.options.items() if name != "dry_run"}
    # What was checked is what comes in, even where another import changes what is remembered.
    mapping = job.report.get("source", {}).get("mapping", {})
    options |= {"mapping": mapping, "expected": job.report.get("read", 0)}
    return _restart(job, options | {"skip_bad": skip_bad, "update": update})


def _restart(job: ImportJob, options: dict[str, Any]) -> bool:
    waiting = ImportJob.objects.filter(pk=job.pk, state=ImportJob.State.CHECKED)
    if not waiting.update(state=ImportJob.State.QUEUED, options=options):
        return False
    carry_out_or_queue(job)
    return True


def cancel(job: ImportJob) -> bool:
    """Stop a job that is not done: a running one notices at its next thousand records and takes everything back."""
    live = ImportJob.objects.exclude(state__in=(ImportJob.State.DONE, ImportJob.State.FAILED)).filter(pk=job.pk)
    ended = {"state": ImportJob.State.FAILED, "report": {"error": CANCELLED}, "finished_at": timezone.now()}
    if not live.update(**ended):
        return False
    if job.state != ImportJob.State.RUNNING and job.path:
        path_of(job).unlink(missing_ok=True)
    return True


def forget(job: ImportJob) -> None:
    """Remove a job that wrote nothing, with its upload."""
    if job.path:
        path_of(job).unlink(missing_ok=True)
    job.delete()


def carry_out_or_queue(job: ImportJob) -> None:
    """A small file is read at once, anything else by the worker."""
    if job.path and is_small(path_of(job)):
        carry_out(job.pk)
    else:
        queue(job)
    job.refresh_from_db()


def is_small(path: Path) -> bool:
    """Whether reading this file fits into a request."""
    with path.open("rb") as handle:
        packed = handle.read(4).startswith(PACKED)
    return path.stat().st_size <= (SMALL_PACKED if packed else SMALL_BYTES)


def keep(upload: File[bytes]) -> str:
    """Store an upload under a name of our own, with its suffixes when they tell a format; gives the name."""
    suffixes = [part.lower() for part in Path(upload.name or "").suffixes[-2:]]
    name = uuid.uuid4().hex + "".join(part for part in suffixes if part in SUFFIXES or part == ".gz")
    uploads().mkdir(parents=True, exist_ok=True)
    with (uploads() / name).open("xb") as handle:
        for chunk in upload.chunks():
            handle.write(chunk)
    return f"{uploads().name}/{name}"


def queue(job: ImportJob) -> None:
    """Hand a kept upload to the worker once the row is committed."""
    ImportJob.objects.filter(pk=job.pk).update(state=ImportJob.State.QUEUED)
    transaction.on_commit(lambda: run_import.enqueue(job.pk))


@task()
def run_import(job_id: int) -> None:
    """The worker's part of an import."""
    carry_out(job_id)


def carry_out(job_id: int) -> None:
    """Carry a queued check or import out; what went wrong is told in the job, where people look."""
    job = ImportJob.objects.select_related("project", "created_by", "staging").get(pk=job_id)
    # A chore is started again only when its worker is known to be dead, so a running job here is nobody's.
    claimed = ImportJob.objects.filter(pk=job_id, state__in=(ImportJob.State.QUEUED, ImportJob.State.RUNNING))
    if not claimed.update(state=ImportJob.State.RUNNING, heartbeat=timezone.now(), staging=None):
        return  # it was given up meanwhile
    if job.staging is not None:
        staging.discard(job.staging)
    options = {name: value for name, value in job.options.items() if name != "expected"}
    source = options.pop("source", None) or path_of(job)
    try:
        report = importing.import_records(job.project, source, by=job.created_by, job=job, **options)
    except (UnreadableFile, ImportInterrupted, CleaningError) as error:
        fail(job_id, str(error))
    else:
        if options.get("dry_run"):
            checked = {"state": ImportJob.State.CHECKED, "report": report.as_dict(), "heartbeat": None}
            ImportJob.objects.filter(pk=job_id, state=ImportJob.State.RUNNING).update(**checked)
            return
    if job.path:
        path_of(job).unlink(missing_ok=True)


def sweep() -> int:
    """Give up imports whose worker died and remove what they left; gives how many there were."""
    silent = ImportJob.objects.filter(
        Q(heartbeat__lt=timezone.now() - SILENCE) | Q(heartbeat=None), state=ImportJob.State.RUNNING
    )
    swept = 0
    for job in silent:
        swept += fail(job.pk, DIED)
    finished = (ImportJob.State.FAILED, ImportJob.State.DONE)
    for job in ImportJob.objects.filter(state__in=finished).exclude(staging=None).select_related("staging"):
        if job.staging is not None and _is_silent(job):
            staging.discard(job.staging)
    _remove_old_uploads()
    return swept


def fail(job_id: int, reason: str) -> int:
    """1 when this call ended the job, 0 when it had ended already."""
    with write_transaction():
        running = ImportJob.objects.filter(pk=job_id, state=ImportJob.State.RUNNING)
        ended = {"state": ImportJob.State.FAILED, "report": {"error": storable(reason)}, "finished_at": timezone.now()}
        return running.update(**ended)


def uploads() -> Path:
    return Path(settings.HONE_DATA) / "uploads" / "imports"


def path_of(job: ImportJob) -> Path:
    return uploads() / Path(job.path).name


def _is_silent(job: ImportJob) -> bool:
    """A failed import may still be clearing up after itself."""
    return job.heartbeat is None or job.heartbeat < timezone.now() - SILENCE


def _remove_old_uploads() -> None:
    waiting = (ImportJob.State.CHECKED, ImportJob.State.QUEUED, ImportJob.State.RUNNING)
    old = ImportJob.objects.filter(created_at__lt=timezone.now() - LEAVINGS, state=ImportJob.State.CHECKED)
    for job in old.exclude(path=""):
        path_of(job).unlink(missing_ok=True)
        job.delete()
    kept = {Path(path).name for path in ImportJob.objects.filter(state__in=waiting).values_list("path", flat=True)}
    if uploads().is_dir():
        for path in uploads().iterdir():
            age = timezone.now().timestamp() - path.stat().st_mtime
            if path.name not in kept and age > LEAVINGS.total_seconds():
                path.unlink(missing_ok=True)
