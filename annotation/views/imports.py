"""The import wizard: choose a file, check and map it, import it. Nothing is written before the last step."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, import_check, jobs
from annotation.cleaning import CleaningError
from annotation.import_form import ImportForm
from annotation.mapping import Mapping
from annotation.models import ImportJob, Kind, Project
from annotation.models.people import MANAGES
from annotation.shell import PersonRequest, signed_in

LARGEST = 2 * 1024**3  # bytes that a page takes; a file larger than that is for the command
EXAMPLES = {
    Kind.PREFERENCE: '{"id": "1", "prompt": "Is water wet?", "responses": ["Yes.", "It depends."]}',
    Kind.RANKING: '{"id": "1", "prompt": "Is water wet?", "responses": ["Yes.", "No.", "It depends."]}',
    Kind.RATING: '{"id": "1", "prompt": "Is water wet?", "responses": ["It depends."]}',
    Kind.DEMONSTRATION: '{"id": "1", "prompt": "Is water wet?"}',
}


@require_http_methods(["GET", "POST"])
@signed_in
def import_page(request: PersonRequest, slug: str) -> HttpResponse:
    """Choose a file or a hub dataset; a POST keeps it and has it checked without writing anything."""
    project = access.project_for(request.user, slug, MANAGES)
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    if request.method == "POST" and form.is_valid():
        upload = form.cleaned_data["file"]
        if upload and (upload.size or 0) > LARGEST:
            form.add_error("file", gettext("More than 2 GB: use manage.py import_tasks for a file this large."))
        else:
            job = jobs.start_check(project, upload, by=request.user, **form.options)
            if job.state != ImportJob.State.FAILED:
                return redirect("annotation:import_job", slug, job.pk)
            form.add_error("file", job.report.get("error", gettext("This file cannot be read.")))
            jobs.forget(job)
    context = {"project": project, "form": form, "jobs": _earlier(project), "example": EXAMPLES[Kind(project.kind)]}
    context["mappings"] = import_check.remembered(project)
    return render(request, "annotation/import.html", context, status=422 if request.method == "POST" else 200)


@require_http_methods(["GET", "POST"])
@signed_in
def import_job(request: PersonRequest, slug: str, job_id: int) -> HttpResponse:
    """What the check found, or how the import goes; a POST imports."""
    project = access.project_for(request.user, slug, MANAGES)
    job = get_object_or_404(ImportJob, pk=job_id, project=project)
    if request.method == "POST":
        return _confirm(request, project, job)
    context = _context(request, project, job)
    return render(request, "annotation/import_job.html", context)


@require_GET
@signed_in
def import_live(request: PersonRequest, slug: str, job_id: int) -> HttpResponse:
    """The part of that page that changes, for a page that asks again and again."""
    project = access.project_for(request.user, slug, MANAGES)
    job = get_object_or_404(ImportJob, pk=job_id, project=project)
    version = import_check.version_of(job)
    if request.headers.get("If-None-Match", "").removeprefix("W/") == version:  # weak where it was compressed
        return HttpResponseNotModified(headers={"ETag": version})
    answer = render(request, "annotation/_import.html", _context(request, project, job))
    answer["ETag"], answer["Cache-Control"] = version, "private, no-cache"
    return answer


@require_POST
@signed_in
def import_mapping(request: PersonRequest, slug: str, job_id: int) -> HttpResponse:
    """Check again with other fields, or what is guessed of them; the reply is the same part of the page."""
    project = access.project_for(request.user, slug, MANAGES)
    job = get_object_or_404(ImportJob, pk=job_id, project=project)
    given = dict(zip(request.POST.getlist("field"), request.POST.getlist("becomes"), strict=False))
    trouble = ""
    try:
        jobs.check_again(job, None if "guess" in request.POST else Mapping.of(given).becomes)
    except CleaningError as error:
        trouble = f"{error.field.removeprefix('mapping.')}: {error.message}"
    if "HX-Request" not in request.headers:
        if trouble:
            messages.error(request, trouble)
        return redirect("annotation:import_job", slug, job.pk)
    context = _context(request, project, job) | {"trouble": trouble}
    return render(request, "annotation/_import.html", context, status=422 if trouble else 200)


@require_POST
@signed_in
def forget_mapping(request: PersonRequest, slug: str, mapping_id: int) -> HttpResponse:
    """Remember no longer what was said of such files; the next one is guessed at."""
    project = access.project_for(request.user, slug, MANAGES)
    get_object_or_404(project.mappings, pk=mapping_id).delete()
    messages.success(request, gettext("Forgotten: the fields of the next such file are guessed."))
    return redirect("annotation:import", slug)


@require_POST
@signed_in
def import_cancel(request: PersonRequest, slug: str, job_id: int) -> HttpResponse:
    """Stop a check or an import that still runs; what it did is taken back."""
    project = access.project_for(request.user, slug, MANAGES)
    job = get_object_or_404(ImportJob, pk=job_id, project=project)
    if jobs.cancel(job):
        messages.success(request, jobs.CANCELLED)
    return redirect("annotation:import", slug)


@require_GET
@signed_in
def import_problems(request: PersonRequest, slug: str, job_id: int) -> StreamingHttpResponse:
    """The bad lines with their reasons, as a table to take along."""
    project = access.project_for(request.user, slug, MANAGES)
    job = get_object_or_404(ImportJob, pk=job_id, project=project)
    answer = StreamingHttpResponse(import_check.problem_table(job), content_type="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{slug}-import-{job.pk}-problems.csv"'
    return answer


def _confirm(request: PersonRequest, project: Project, job: ImportJob) -> HttpResponse:
    if not jobs.confirm(job, skip_bad="skip_bad" in request.POST, update="update" in request.POST):
        messages.warning(request, gettext("This import was started already."))
    elif job.state == ImportJob.State.DONE:
        done = job.report
        messages.success(
            request,
            gettext("New items: %(what)s. Left out as bad: %(what_2)s.")
            % {"what": f"{done['created']:,}", "what_2": f"{done['bad_count']:,}"},
        )
        return redirect("annotation:project", project.slug)
    elif job.state == ImportJob.State.FAILED:
        bad = gettext("%(bad_count)s records are bad.") % {"bad_count": f"{job.report.get('bad_count', 0):,}"}
        messages.error(request, gettext("Nothing was imported: %(what)s") % {"what": job.report.get("error", bad)})
    return redirect("annotation:import_job", project.slug, job.pk)


def _context(request: PersonRequest, project: Project, job: ImportJob) -> dict[str, object]:
    row = request.GET.get("row", "1")
    at = int(row) if row.isdecimal() and len(row) < 4 else 1
    return {"project": project, "job": job, "check": import_check.ImportCheck(project, job, at)}


def _earlier(project: Project) -> list[ImportJob]:
    states = (ImportJob.State.DONE, ImportJob.State.FAILED, ImportJob.State.RUNNING, ImportJob.State.QUEUED)
    return list(project.imports.filter(state__in=states).select_related("created_by").order_by("-pk")[:10])
