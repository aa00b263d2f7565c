"""How far people agree, how each of them works, and the whole report on a project's quality."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_noop
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access
from annotation.api.authentication import caller
from annotation.api.serializers.data import AgreementQuery
from annotation.models import Project, QualityReport
from annotation.models.people import READS_DATA, SEES_NAMES
from annotation.quality import reports

WAITING = gettext_noop("The worker is working it out; ask again in a while.")
ANSWERS = {200: OpenApiTypes.OBJECT, 202: OpenApiTypes.OBJECT}


class Agreement(APIView):
    @extend_schema(parameters=[AgreementQuery], responses=ANSWERS)
    def get(self, request: Request, slug: str) -> Response:
        """How far those who judged the same tasks agree: percent, kappa and alpha, with 95 % intervals.

        `measures` has each coefficient with a bootstrap interval. A large project answers 202 until the worker is done.
        """
        project = access.project_for(caller(request), slug, READS_DATA)
        sent = AgreementQuery(data=request.query_params.dict())
        sent.is_valid(raise_exception=True)
        options = dict(sent.validated_data)
        if {"a", "b"} & options.keys() and project.my_role not in SEES_NAMES:
            raise PermissionDenied(gettext("Groups are asked for by name, which your role here does not see."))
        return _answer(reports.agreement_of(project, options))


class Stats(APIView):
    @extend_schema(responses=ANSWERS)
    def get(self, request: Request, slug: str) -> Response:
        """Progress, throughput, labels, and figures of each annotator; 202 while a large project's are worked out."""
        project = access.project_for(caller(request), slug, READS_DATA)
        return _answer(reports.stats(project, names=project.my_role in SEES_NAMES))


class Quality(APIView):
    @extend_schema(operation_id="quality_read", responses=ANSWERS)
    def get(self, request: Request, slug: str) -> Response:
        """Agreement by question, people, sources and time; annotators; strengths; biases; posterior labels; checks.

        `computed_at` and `stale` say how old it is. 202 with an empty report until the worker has made the first one.
        """
        project = access.project_for(caller(request), slug, READS_DATA)
        return _report(project, reports.of(project))

    @extend_schema(operation_id="quality_refresh", request=None, responses=ANSWERS)
    def post(self, request: Request, slug: str) -> Response:
        """Have the report worked out again, now or by the worker (202)."""
        project = access.project_for(caller(request), slug, READS_DATA)
        report = reports.refresh(project)
        return _report(project, report, waits=report.queued_at is not None)


def _report(project: Project, report: QualityReport, *, waits: bool = False) -> Response:
    about = {
        "computed_at": report.computed_at,
        "seconds": report.seconds,
        "refreshing": report.queued_at is not None,
        "stale": reports.is_stale(report),
        "problem": report.problem,
        "report": reports.named(report.data, project, names=project.my_role in SEES_NAMES) or None,
    }
    return Response(about, status=202 if waits or not report.data else 200)


def _answer(found: dict[str, Any] | None) -> Response:
    return Response({"computed_at": None, "detail": gettext(WAITING)}, status=202) if found is None else Response(found)
