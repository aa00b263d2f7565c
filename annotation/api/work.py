"""The annotator's side: the next task, a judgement, a draft, a skip, an undo."""

from __future__ import annotations

import json
from typing import Any

from django.http import Http404, HttpResponse
from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access, judging, qualifying, queue, sealing
from annotation.api.authentication import caller
from annotation.api.serializers.work import (
    BodySerializer,
    KeptDraftSerializer,
    LeasedTaskSerializer,
    NextSerializer,
    SkipSerializer,
    SubmittedSerializer,
)
from annotation.models import Annotation, Project, User
from annotation.models.people import JUDGES
from annotation.presenting import body_for_program, for_program
from annotation.sealing import Of

NEXT = OpenApiParameter("next", bool, description="0 leaves the next task out.", default=True)
KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Makes a retry safe: same answer, same id. 422 when it came with another body before.",
)


class Next(APIView):
    @extend_schema(request=None, responses={200: LeasedTaskSerializer, 204: None})
    def post(self, request: Request, slug: str) -> HttpResponse:
        """Lease the caller's next task, or get the one they hold; 204 when nothing is left for them."""
        project = access.project_for(caller(request), slug, JUDGES)
        task = _next(project, caller(request))
        return HttpResponse(status=204) if task is None else _json(task)


class Annotations(APIView):
    @extend_schema(parameters=[NEXT, KEY], request=BodySerializer, responses={201: SubmittedSerializer})
    def post(self, request: Request, task_id: int) -> HttpResponse:
        """Submit a judgement; again makes a new revision.

        409 when the lease was lost and the task is full; 422 when the key came with another body before.
        """
        wants_next = _wants_next(request)
        task = access.task_for(caller(request), task_id, JUDGES)
        body, seconds = _body_and_seconds(sealing.renumbered(request.data, sealing.response_of(task.project)))
        key = request.headers.get("Idempotency-Key")
        annotation = judging.submit(task, caller(request), body, key=key, seconds=seconds)
        answer: dict[str, Any] = {"id": _number(annotation, task_id), "revision": annotation.revision}
        if told := qualifying.feedback(task, annotation):
            answer["feedback"] = told.as_dict()
        if wants_next:
            answer |= _onward(task.project, caller(request))
        return _json(answer, status=201)


class Draft(APIView):
    @extend_schema(request=BodySerializer, responses=KeptDraftSerializer)
    def put(self, request: Request, task_id: int) -> Response:
        """Keep a half-finished judgement and renew the lease."""
        task = access.task_for(caller(request), task_id, JUDGES)
        draft = sealing.renumbered(request.data, sealing.response_of(task.project))
        assignment = judging.save_draft(task, caller(request), draft)
        kept = body_for_program(task.project, assignment.draft, salt=sealing.salt_of(Of.TASK, task_id))
        return Response({"draft": kept, "lease_until": assignment.lease_until})


class Skip(APIView):
    @extend_schema(parameters=[NEXT], request=SkipSerializer, responses=NextSerializer)
    def post(self, request: Request, task_id: int) -> Response:
        """Give the task back for good, with a reason."""
        wants_next = _wants_next(request)
        task = access.task_for(caller(request), task_id, JUDGES)
        sent = SkipSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        queue.skip(task, caller(request), sent.validated_data["reason"])
        return Response(_onward(task.project, caller(request)) if wants_next else {})


class Undo(APIView):
    @extend_schema(request=None, responses=LeasedTaskSerializer)
    def post(self, request: Request, annotation_id: int) -> Response:
        """Take the caller's last judgement back; its task is leased again, with the judgement as the draft."""
        mine = Annotation.objects.filter(annotator=caller(request)).select_related("project")
        annotation = mine.filter(pk=sealing.plain(Of.ANNOTATION, annotation_id)).first()
        if annotation is None:
            raise Http404(gettext("There is no such annotation of yours."))
        access.project_for(caller(request), annotation.project.slug, JUDGES)
        return Response(for_program(judging.undo(annotation, caller(request))))


def _number(annotation: Annotation, told: int) -> int:
    """The judgement's id, or a number where its task was `told` as one: an answer to a repeat has that of the first."""
    if not sealing.is_sealed(told):
        return annotation.pk
    return sealing.seal(Of.ANNOTATION, annotation.pk, salt=sealing.salt_of(Of.TASK, told))


def _json(data: dict[str, Any], status: int = 200) -> HttpResponse:
    """`data` as the framework would render it, without a template's response around it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, content_type="application/json", status=status)


def _next(project: Project, user: User) -> dict[str, Any] | None:
    assignment = queue.lease_next(project, user)
    return None if assignment is None else for_program(assignment)


def _onward(project: Project, user: User) -> dict[str, Any]:
    """The next task beside an answer that is stored: why there is none is told, but is no error."""
    try:
        return {"next": _next(project, user)}
    except queue.NotNow as error:
        return {"next": None, "notice": str(error)}


def _wants_next(request: Request) -> bool:
    value = request.query_params.get("next", "1").lower()
    if value not in ("0", "1", "true", "false"):
        raise ValidationError({"next": [gettext("Must be 1 or 0.")]})
    return value in ("1", "true")


def _body_and_seconds(data: Any) -> tuple[Any, float | None]:
    """The judgement and, beside it, the active time."""
    if not isinstance(data, dict) or "seconds" not in data:
        return data, None
    body = dict(data)
    seconds = body.pop("seconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise ValidationError({"seconds": [gettext("Must be a number.")]})
    return body, seconds
