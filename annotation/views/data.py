"""Judgements out of a project."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from annotation import access, exporting
from annotation.models.people import READS_DATA
from annotation.shell import PersonRequest, signed_in


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
