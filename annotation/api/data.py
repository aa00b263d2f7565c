"""Records in, judgements out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access, exporting, importing, jobs, presenting, reading, sealing, splitting
from annotation.api.authentication import caller
from annotation.api.parsers import JSONLinesParser, JSONRecordsParser
from annotation.api.problems import Problem
from annotation.api.serializers.data import AnnotationFilter, AnnotationSerializer, ExportQuery
from annotation.api.serializers.imports import ImportJobSerializer, ImportOptions, ImportReportSerializer
from annotation.cleaning import CleaningError, clean_json, strict_json
from annotation.mapping import Mapping
from annotation.models import Annotation, ImportJob, Project
from annotation.models.people import MANAGES, READS_DATA, SEES_NAMES
from annotation.reading import hub
from annotation.sealing import Of

SMALL_RECORDS = 2000  # what is imported while the caller waits
PAGING = ("limit", "cursor")
MEDIA_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "datasets": "application/zip",
    "label-studio": "application/json",
    "argilla": "application/json",
}
FILE = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
RECORDS = {"type": "array", "items": {"type": "object"}}


class Import(APIView):
    parser_classes = [MultiPartParser, JSONRecordsParser, JSONLinesParser]

    @extend_schema(
        parameters=[ImportOptions],
        request={"multipart/form-data": FILE, "application/json": RECORDS},
        responses={200: ImportReportSerializer, 201: ImportReportSerializer, 202: ImportJobSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        """Import a file or an array of records: small ones at once (201), large ones as a job (202)."""
        project = access.project_for(caller(request), slug, MANAGES)
        sent = ImportOptions(data=request.query_params.dict())
        sent.is_valid(raise_exception=True)
        options = _import_options(sent.validated_data)
        upload = request.data.get("file") if hasattr(request.data, "get") else None
        if "source" in options and upload is None:
            return self._later(request, project, str(options["source"]), None, options)
        if not isinstance(upload, UploadedFile):
            raise ValidationError(
                {"file": [gettext("Send records as multipart `file`, as a JSON array or as JSON lines.")]}
            )
        with upload:
            records = None if "format" in options else _array(upload)
            path = jobs.uploads() / Path(jobs.keep(upload)).name
        if not _is_small(path, records, options.get("format")):
            return self._later(request, project, upload.name or "", path, options)
        dry_run = options.pop("dry_run")
        try:
            source = path if records is None else records
            report = importing.import_records(project, source, dry_run=dry_run, by=caller(request), **options)
        finally:
            path.unlink(missing_ok=True)
        if not dry_run and not report.applied:
            raise BadRecords(report)
        return Response(ImportReportSerializer(report).data, status=200 if dry_run else 201)

    def _later(
        self, request: Request, project: Project, name: str, path: Path | None, options: dict[str, Any]
    ) -> Response:
        """Leave a large file, or a dataset of the hub, to the worker; a dry run ends as `checked` with its report."""
        job = ImportJob.objects.create(
            project=project,
            created_by=caller(request),
            file_name=name[:200] if path is None else Path(name).name[:200],
            path="" if path is None else f"{path.parent.name}/{path.name}",
            options=options,
        )
        jobs.queue(job)
        job.refresh_from_db()
        location = request.path.removesuffix("import/") + f"imports/{job.pk}/"
        return Response(ImportJobSerializer(job).data, status=202, headers={"Location": location})


class BadRecords(Problem):
    """Nothing was imported; each bad record is told by its line, with the counts beside them."""

    def __init__(self, report: importing.ImportReport) -> None:
        title = gettext("Nothing was imported: %(bad_count)s of %(read)s records cannot be used.") % {
            "bad_count": f"{report.bad_count:,}",
            "read": f"{report.read:,}",
        }
        super().__init__(400, "bad-records", title)
        for problem in report.bad[:200]:
            self.errors.setdefault(f"line {problem.line}", []).append(
                f"{problem.field}: {problem.reason}" if problem.field else problem.reason
            )
        self.extra = dict(ImportReportSerializer(report).data)


class ImportStatus(APIView):
    @extend_schema(responses=ImportJobSerializer)
    def get(self, request: Request, slug: str, job_id: int) -> Response:
        """How far a large import is, and what was wrong with it."""
        project = access.project_for(caller(request), slug, MANAGES)
        return Response(ImportJobSerializer(get_object_or_404(project.imports, pk=job_id)).data)


class Annotations(generics.GenericAPIView[Annotation]):
    serializer_class = AnnotationSerializer

    @extend_schema(
        operation_id="annotations_list", parameters=[AnnotationFilter], responses=AnnotationSerializer(many=True)
    )
    def get(self, request: Request, slug: str) -> Response:
        """Judgements, newest first: one's own, or all of them for those who read the project's data."""
        project = access.project_for(caller(request), slug)
        query = {name: value for name, value in request.query_params.items() if name not in PAGING}
        sent = AnnotationFilter(data=query)
        sent.is_valid(raise_exception=True)
        reads_data = project.my_role in READS_DATA
        rows = _narrowed(project, reads_data, sent.validated_data)
        if not reads_data:
            rows = rows.filter(annotator=caller(request))
        page = self.paginate_queryset(rows.select_related("annotator", "guideline", "task"))
        context = {"name_of": _name_of(project), "reads_data": reads_data} | _numbers(project)
        return self.get_paginated_response(AnnotationSerializer(page, many=True, context=context).data)


class Export(APIView):
    @extend_schema(parameters=[ExportQuery], responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, slug: str) -> StreamingHttpResponse:
        """The judgements as training rows or as they are, streamed; names only for those who may see them."""
        project = access.project_for(caller(request), slug, READS_DATA)
        sent = ExportQuery(data=request.query_params.dict())
        sent.is_valid(raise_exception=True)
        options = dict(sent.validated_data)
        type_, format_ = options.pop("type"), options.pop("format")
        if options.get("purpose") == "all":
            options["purpose"] = None
        options["names"] = project.my_role in SEES_NAMES
        part, split = options.pop("part", None), splitting.asked_for(options)
        stream = exporting.stream(project, type_, format_, split=split, part=part, **options)
        response = StreamingHttpResponse(stream, content_type=MEDIA_TYPES[format_])
        name = exporting.file_name(project, type_, format_, part)
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def _array(upload: UploadedFile) -> list[Any] | None:
    """The records of a small JSON array sent as the body: in one line of text only their numbers tell them apart."""
    if upload.content_type != JSONRecordsParser.media_type or (upload.size or 0) > jobs.SMALL_BYTES:
        return None
    value = strict_json(upload.read())
    upload.seek(0)
    return value if isinstance(value, list) and value else None


def _import_options(sent: dict[str, Any]) -> dict[str, Any]:
    options = dict(sent)
    if hub_name := options.pop("hub", None):
        options["source"] = hub_name if hub.is_name(hub_name) else hub.PREFIX + hub_name
        if not hub.NAME.fullmatch(options["source"]):
            raise ValidationError({"hub": [gettext("Must be %(help)s.") % {"help": hub.HELP}]})
    if "metadata" in options:
        try:
            options["metadata"] = clean_json(strict_json(options["metadata"]), "metadata")
        except CleaningError as error:
            raise ValidationError({"metadata": [error.message]}) from None
        if not isinstance(options["metadata"], dict):
            raise ValidationError({"metadata": [gettext('Must be a JSON object such as {"batch": "may"}.')]})
    if mapping := options.pop("map", None):
        try:
            options["mapping"] = Mapping.of(strict_json(mapping)).becomes
        except CleaningError as error:
            raise ValidationError({"map": [str(error)]}) from None
    return options


def _is_small(path: Path, records: list[Any] | None, format: str | None) -> bool:
    if not jobs.is_small(path):
        return False
    rows = reading.read(path, format if format in reading.FORMATS else None) if records is None else records
    return sum(1 for _ in islice(rows, SMALL_RECORDS + 1)) <= SMALL_RECORDS


def _narrowed(project: Project, reads_data: bool, filters: dict[str, Any]) -> QuerySet[Annotation]:
    columns = {
        "task": "task",
        "external_id": "task__external_id",
        "annotator": "annotator__username",
        "status": "status",
        "purpose": "task__purpose",
        "guideline_version": "guideline__number",
        "created_after": "created_at__gt",
        "created_before": "created_at__lt",
    }
    hidden = set() if reads_data else {"external_id", "purpose"}
    hidden |= set() if project.my_role in SEES_NAMES else {"annotator"}
    if "task" in filters:
        number = filters["task"]
        filters = filters | {"task": sealing.plain(Of.TASK, number) if sealing.takes(project, number) else 0}
    if refused := sorted(hidden & filters.keys()):
        raise PermissionDenied(
            gettext("Your role here does not see what %(refused)s filters by.") % {"refused": refused[0]}
        )
    return Annotation.objects.filter(project=project, **{columns[name]: value for name, value in filters.items()})


def _numbers(project: Project) -> dict[str, Callable[..., Any]]:
    """How a row names itself, its task and responses: to annotators as `next` and the answer to a submit do."""
    if project.my_role in READS_DATA or not sealing.needed(project):
        return {"number_of": lambda of, pk: pk, "body_of": dict}
    return {
        "number_of": sealing.seal,
        "body_of": lambda body: presenting.body_for_program(project, body),
    }


def _name_of(project: Project) -> Callable[[Annotation], str]:
    if project.my_role in SEES_NAMES:
        return lambda annotation: annotation.annotator.username
    if project.my_role in READS_DATA:
        return lambda annotation: exporting.pseudonym(
            project, annotation.annotator_id, simulated=annotation.annotator.is_simulated
        )
    return lambda annotation: annotation.annotator.username  # only one's own come here
