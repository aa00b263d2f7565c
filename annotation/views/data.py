"""Files into a project, checked before anything is written, and judgements out of it."""

from __future__ import annotations

import uuid
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import get_valid_filename
from django.views.decorators.http import require_GET, require_http_methods

from annotation import access, exporting, formats, forms, importing, rendering
from annotation.cleaning import CleaningError
from annotation.models import ImportJob, Kind, Project
from annotation.models.people import MANAGES, READS_DATA
from annotation.reading import UnreadableFile
from annotation.records import Checker
from annotation.shell import PersonRequest, signed_in

LARGEST = 64 * 1024 * 1024  # bytes a page takes; checking more than this would outlast a browser's patience
SAMPLES = 3
PROBLEMS_SHOWN = 200
EXAMPLES = {
    Kind.PREFERENCE: '{"id": "1", "prompt": "Is water wet?", "responses": ["Yes.", "It depends."]}',
    Kind.RANKING: '{"id": "1", "prompt": "Is water wet?", "responses": ["Yes.", "No.", "It depends."]}',
    Kind.RATING: '{"id": "1", "prompt": "Is water wet?", "responses": ["It depends."]}',
    Kind.DEMONSTRATION: '{"id": "1", "prompt": "Is water wet?"}',
}


@require_http_methods(["GET", "POST"])
@signed_in
def import_page(request: PersonRequest, slug: str) -> HttpResponse:
    """Choose a file; a POST keeps it and checks it without writing anything."""
    project = access.project_for(request.user, slug, MANAGES)
    form = forms.ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        upload: UploadedFile = form.cleaned_data["file"]
        if upload.size and upload.size > LARGEST:
            form.add_error("file", "More than 64 MB: use manage.py import_tasks for a file this large.")
        else:
            job = _keep(project, request, upload)
            try:
                report = importing.import_records(project, _path(job), dry_run=True, by=request.user)
            except UnreadableFile as error:
                _forget(job)
                form.add_error("file", str(error))
            else:
                job.report = report.as_dict()
                job.save(update_fields=["report"])
                return redirect("annotation:import_job", slug, job.pk)
    context = {"project": project, "form": form, "jobs": _earlier(project), "example": EXAMPLES[Kind(project.kind)]}
    return render(request, "annotation/import.html", context, status=422 if request.method == "POST" else 200)


@require_http_methods(["GET", "POST"])
@signed_in
def import_job(request: PersonRequest, slug: str, job_id: int) -> HttpResponse:
    """What the check found, with the first rows as annotators will see them; a POST imports."""
    project = access.project_for(request.user, slug, MANAGES)
    job = get_object_or_404(ImportJob, pk=job_id, project=project)
    if request.method == "POST" and job.state == ImportJob.State.CHECKED:
        return _run(request, project, job)
    context = {"project": project, "job": job, "report": job.report, "jobs": _earlier(project)}
    if job.state == ImportJob.State.CHECKED:
        context["samples"] = _samples(project, _path(job))
    bad = job.report.get("bad", [])
    context |= {"bad": bad[:PROBLEMS_SHOWN], "good": job.report.get("created", 0) + job.report.get("updated", 0)}
    return render(request, "annotation/import_job.html", context)


@require_GET
@signed_in
def export(request: PersonRequest, slug: str) -> HttpResponse | StreamingHttpResponse:
    """A download of the judgements, streamed row by row."""
    project = access.project_for(request.user, slug, READS_DATA)
    type_, format_ = request.GET.get("type", "raw"), request.GET.get("format", "jsonl")
    try:
        stream = exporting.stream(project, type_, format_)
    except exporting.ExportError as error:
        messages.error(request, str(error))
        return redirect("annotation:project", slug)
    response = StreamingHttpResponse(stream, content_type="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{exporting.file_name(project, type_, format_)}"'
    return response


def _keep(project: Project, request: PersonRequest, upload: UploadedFile) -> ImportJob:
    """The upload on disk under a name of our own, and a job that remembers what it was called."""
    for stale in ImportJob.objects.filter(project=project, created_by=request.user, state=ImportJob.State.CHECKED):
        _forget(stale)
    suffix = "".join(Path(get_valid_filename(upload.name or "upload")).suffixes[-2:])[:20]
    name = f"imports/{uuid.uuid4().hex}{suffix}"
    path = _uploads() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        for chunk in upload.chunks():
            handle.write(chunk)
    return ImportJob.objects.create(
        project=project,
        created_by=request.user,
        state=ImportJob.State.CHECKED,
        file_name=str(upload.name)[:200],
        path=name,
    )


def _run(request: PersonRequest, project: Project, job: ImportJob) -> HttpResponse:
    skip_bad, update = "skip_bad" in request.POST, "update" in request.POST
    try:
        report = importing.import_records(
            project, _path(job), by=request.user, job=job, skip_bad=skip_bad, update=update
        )
    except UnreadableFile as error:
        messages.error(request, str(error))
        return redirect("annotation:import", project.slug)
    ImportJob.objects.filter(pk=job.pk).update(
        options={"skip_bad": skip_bad, "update": update}, report=report.as_dict()
    )
    _path(job).unlink(missing_ok=True)
    if report.applied:
        messages.success(request, f"{report.created:,} items came in, {report.bad_count:,} were left out.")
        return redirect("annotation:project", project.slug)
    messages.error(request, f"Nothing was imported: {report.bad_count:,} records are bad.")
    return redirect("annotation:import_job", project.slug, job.pk)


def _samples(project: Project, path: Path) -> list[dict[str, Any]]:
    """The first good rows, rendered."""
    checker = Checker(project, "imported", {})
    samples: list[dict[str, Any]] = []
    for line, raw in islice(formats.shaped(path, None), 50):
        if isinstance(raw, CleaningError):
            continue
        try:
            fields = checker.check(raw).fields
        except CleaningError:
            continue
        responses = [rendering.render_markdown(response["text"]) for response in fields.get("responses") or []]
        sides = [{"letter": chr(65 + i), "name": "ab"[i] if i < 2 else "n", "html": r} for i, r in enumerate(responses)]
        turns = [
            {"role": turn["role"].capitalize(), "html": rendering.render_markdown(turn["content"])}
            for turn in fields["prompt"]
        ]
        samples.append({"line": line, "turns": turns, "sides": sides})
        if len(samples) == SAMPLES:
            break
    return samples


def _earlier(project: Project) -> Any:
    done = (ImportJob.State.DONE, ImportJob.State.FAILED, ImportJob.State.RUNNING)
    return project.imports.filter(state__in=done).select_related("created_by").order_by("-pk")[:10]


def _uploads() -> Path:
    return Path(settings.HONE_DATA) / "uploads"


def _path(job: ImportJob) -> Path:
    return _uploads() / job.path


def _forget(job: ImportJob) -> None:
    _path(job).unlink(missing_ok=True)
    job.delete()
