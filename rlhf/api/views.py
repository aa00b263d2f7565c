"""What all views of the loop's API share: whose rows they are, and how the loop's errors are told."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import project_for
from annotation.api.problems import INVALID, Problem
from annotation.models import Project
from annotation.models.people import TRAINS
from rlhf.plans import PlanError
from rlhf.registry import RegistryError
from rlhf.rounds import RoundError
from rlhf.runs import CannotCancel, CannotResume
from rlhf.snapshots import SnapshotError
from rlhf.withdrawing import WithdrawalError
from training.runfile import RunFileError


class LoopView(generics.GenericAPIView[Any]):
    """Rows through `visible_to`, changes for those who may train."""

    ordering = ("-created_at", "-pk")
    filters: type[serializers.Serializer[Any]]

    def handle_exception(self, exc: Exception) -> Response:
        """Give the loop's errors the one shape of the API."""
        if isinstance(exc, RunFileError | PlanError):
            message = str(exc).removeprefix(exc.field).strip()
            exc = Problem(400, "invalid", INVALID, {exc.field or "body": message[:1].upper() + message[1:]})
        elif isinstance(exc, SnapshotError | RegistryError | WithdrawalError) or (
            isinstance(exc, RoundError) and exc.field
        ):
            exc = Problem(400, "invalid", INVALID, {exc.field: str(exc)})
        elif isinstance(exc, CannotCancel | CannotResume | RoundError):
            exc = Problem(409, "conflict", str(exc))
        return super().handle_exception(exc)

    def listed(self, rows: QuerySet[Any]) -> Response:
        """One page of the caller's rows, narrowed by the query."""
        asked = self.filters(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        wanted = {name: value for name, value in asked.validated_data.items() if name not in ("limit", "cursor")}
        if slug := wanted.pop("project", None):
            wanted["project__slug"] = slug
        page = self.paginate_queryset(rows.filter(**wanted))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def sent(self, shape: type[serializers.Serializer[Any]], data: Any = None) -> dict[str, Any]:
        """The request's checked body."""
        asked = shape(data=self.request.data if data is None else data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        return dict(asked.validated_data)

    def project_to_train_in(self, slug: str) -> Project:
        """The project, for those who may train there; 404 for a stranger and 403 for the other members."""
        return project_for(self.request.user, slug, TRAINS)  # type: ignore[arg-type]

    def created(self, row: Any, request: Request, key: object) -> Response:
        location = {"Location": f"{request.path}{key}/"}
        return Response(self.get_serializer(row).data, status=201, headers=location)
