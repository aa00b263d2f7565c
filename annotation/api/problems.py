"""Every error of the API in one shape: application/problem+json (RFC 9457)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from annotation.accounts import MayNot
from annotation.admins import NotAnAdmin
from annotation.agreement import NotComparable
from annotation.assigning import AssignError
from annotation.bodies import BodyError
from annotation.cleaning import CleaningError
from annotation.discussing import CannotSay
from annotation.exporting import ExportError
from annotation.freezing import Frozen
from annotation.importing import ImportInterrupted
from annotation.invitations import NotInvited
from annotation.judging import CannotUndo, KeyReused, LeaseLost
from annotation.membership import LastManager
from annotation.projects import ProjectError
from annotation.questions import QuestionsError
from annotation.reading import UnreadableFile
from annotation.reviewing import CannotDecide, Overtaken
from annotation.standing import NotNow

MEDIA_TYPE = "application/problem+json"
INVALID = gettext_noop("Some of what was sent cannot be used.")

Errors = dict[str, list[str]]

# What the domain raises and a caller can react to: the status and the last part of the type.
RAISED: dict[type[Exception], tuple[int, str]] = {
    CannotDecide: (409, "cannot-decide"),
    CannotSay: (400, "invalid"),
    MayNot: (403, "not-allowed"),
    NotAnAdmin: (409, "not-an-admin"),
    NotInvited: (403, "not-allowed"),
    Overtaken: (409, "overtaken"),
    Frozen: (409, "frozen"),
    LeaseLost: (409, "lease-lost"),
    CannotUndo: (409, "cannot-undo"),
    KeyReused: (422, "key-reused"),
    LastManager: (409, "last-manager"),
    ImportInterrupted: (409, "import-interrupted"),
    NotComparable: (400, "invalid"),
    UnreadableFile: (400, "unreadable-file"),
}
KINDS = {
    400: "invalid",
    401: "not-signed-in",
    403: "not-allowed",
    404: "not-found",
    405: "wrong-method",
    406: "not-acceptable",
    409: "conflict",
    413: "too-large",
    415: "wrong-media-type",
    429: "too-many-requests",
}


class Problem(exceptions.APIException):
    """An error to be told: `kind` is the last part of its type, `title` one sentence, `errors` sentences by field."""

    def __init__(self, status: int, kind: str, title: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(title, kind)
        self.status_code = status
        self.errors: Errors = {field: [message] for field, message in (errors or {}).items()}
        self.extra: dict[str, Any] = {}  # members of this kind of problem


class TooLarge(Problem):
    def __init__(self, title: str) -> None:
        super().__init__(413, "too-large", title)


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """The response for an exception that a view raised; None leaves it to Django, as a defect of ours."""
    if isinstance(error, AssignError | BodyError | ProjectError | QuestionsError):
        error = Problem(400, "invalid", gettext(INVALID), error.errors)
    elif isinstance(error, CleaningError):
        error = Problem(400, "invalid", gettext(INVALID), {error.field or "body": error.message})
    elif isinstance(error, ExportError):
        error = Problem(400, "invalid", str(error), {error.field: str(error)})
    elif isinstance(error, NotNow):
        error = Problem(403, error.kind, str(error))
    elif type(error) in RAISED:
        status, kind = RAISED[type(error)]
        error = Problem(status, kind, str(error))
    elif isinstance(error, Http404):
        error = exceptions.NotFound(str(error) or None)
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    response = exception_handler(error, context)
    if response is None or not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    response.data = _problem(error)
    response.content_type = MEDIA_TYPE
    return response


@csrf_exempt  # a program that posts has no token of a page, and nothing is changed here
def no_such_address(request: HttpRequest) -> JsonResponse:
    """The answer below /api/v1/ where there is nothing."""
    return answer(404, gettext("There is nothing at this address; see /api/v1/docs/."))


def answer(status: int, title: str) -> JsonResponse:
    """A problem outside of the API's views."""
    return JsonResponse(_shape(status, KINDS.get(status, "error"), title), status=status, content_type=MEDIA_TYPE)


def _problem(error: exceptions.APIException) -> dict[str, Any]:
    if isinstance(error, Problem):
        return _shape(error.status_code, str(error.get_codes()), str(error.detail), error.errors) | error.extra
    kind = KINDS.get(error.status_code, "error")
    if isinstance(error, exceptions.ValidationError):
        return _shape(error.status_code, kind, gettext(INVALID), dict(_by_field(error.detail)))
    return _shape(error.status_code, kind, str(error.detail))


def _shape(status: int, kind: str, title: str, errors: Errors | None = None) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": f"urn:hone:problem:{kind}", "title": title, "status": status, "detail": title}
    if errors:
        shape["detail"] = "; ".join(f"{field}: {' '.join(messages)}" for field, messages in errors.items())
        shape["errors"] = errors
    return shape


def _by_field(detail: Any, field: str = "") -> list[tuple[str, list[str]]]:
    """Nested errors as (path, sentences)."""
    if isinstance(detail, dict):
        parts = [(f"{field}.{name}" if field else str(name), part) for name, part in detail.items()]
        return [found for name, part in parts for found in _by_field(part, name)]
    if isinstance(detail, list) and any(isinstance(part, dict | list) for part in detail):
        return [found for index, part in enumerate(detail) for found in _by_field(part, f"{field}[{index}]")]
    messages = [str(part) for part in detail] if isinstance(detail, list) else [str(detail)]
    return [("body" if field in ("", "non_field_errors") else field, messages)]
