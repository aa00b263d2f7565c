"""Snapshots and models."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.models import Project
from rlhf import cutting, downloads, registry, snapshots, withdrawn
from rlhf.api.serializers import (
    CutSerializer,
    ModelFilter,
    ModelInput,
    ModelSerializer,
    Reason,
    SnapshotFilter,
    SnapshotInput,
    SnapshotSerializer,
)
from rlhf.api.views import LoopView
from rlhf.models import Cut, Model, Snapshot


class Snapshots(LoopView):
    serializer_class = SnapshotSerializer
    filters = SnapshotFilter

    def get_queryset(self) -> Any:
        return Snapshot.objects.visible_to(self.request.user).select_related("project")  # type: ignore[arg-type]

    @extend_schema(operation_id="snapshots_list", parameters=[SnapshotFilter], responses=SnapshotSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Immutable datasets, newest first."""
        return self.listed(self.get_queryset())

    @extend_schema(request=SnapshotInput, responses={201: SnapshotSerializer, 202: CutSerializer})
    def post(self, request: Request) -> Response:
        """Cut a snapshot; the same judgements and recipe give the one there is. The worker cuts large ones (202)."""
        asked = self.sent(SnapshotInput)
        project = self.project_to_train_in(asked.pop("project"))
        if cutting.is_large(project):
            cut = cutting.start(project, by=request.user, **asked)  # type: ignore[arg-type]
            location = {"Location": f"{request.path}cuts/{cut.pk}/"}
            return Response(CutSerializer(cut).data, status=202, headers=location)
        made = snapshots.cut(project, by=request.user, **asked)  # type: ignore[arg-type]
        return self.created(made, request, made.pk)


class SnapshotDetail(LoopView):
    serializer_class = SnapshotSerializer
    queryset = Snapshot.objects.none()

    @extend_schema(responses=SnapshotSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """One snapshot."""
        rows = Snapshot.objects.visible_to(request.user).select_related("project")  # type: ignore[arg-type]
        return Response(self.get_serializer(get_object_or_404(rows, pk=pk)).data)


class SnapshotDownload(LoopView):
    queryset = Snapshot.objects.none()

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: int) -> StreamingHttpResponse:
        """The whole folder in one zip, streamed; the same snapshot gives the same bytes."""
        rows = Snapshot.objects.visible_to(request.user)  # type: ignore[arg-type]
        return downloads.whole(get_object_or_404(rows, pk=pk))


class SnapshotCut(LoopView):
    serializer_class = CutSerializer
    queryset = Cut.objects.none()

    @extend_schema(responses=CutSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """How far the worker is with a large snapshot, and the snapshot once it is cut."""
        rows = Cut.objects.filter(project__in=Project.objects.data_readable_by(request.user))  # type: ignore[arg-type]
        return Response(self.get_serializer(get_object_or_404(rows, pk=pk)).data)


class ModelView(LoopView):
    """Models, told with the withdrawals behind them, which are asked for once for all models of an answer."""

    serializer_class = ModelSerializer
    queryset = Model.objects.none()

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "withdrawn": SimpleLazyObject(withdrawn.behind_models)}


class Models(ModelView):
    filters = ModelFilter

    def get_queryset(self) -> Any:
        rows = Model.objects.visible_to(self.request.user)  # type: ignore[arg-type]
        return rows.select_related("project", "parent", "run")

    @extend_schema(operation_id="models_list", parameters=[ModelFilter], responses=ModelSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Registered models, newest first."""
        return self.listed(self.get_queryset())

    @extend_schema(request=ModelInput, responses={201: ModelSerializer})
    def post(self, request: Request) -> Response:
        """Register a folder on the server; for site admins, because it reads the server's files."""
        if not request.user.is_superuser:
            raise PermissionDenied(
                gettext("Only a site admin registers models; manage.py register_model does the same.")
            )
        asked = self.sent(ModelInput)
        project = self.project_to_train_in(asked.pop("project")) if "project" in asked else None
        made = registry.register_folder(asked.pop("name"), asked.pop("folder"), project=project, **asked)
        return self.created(made, request, made.name)


class ModelDetail(ModelView):
    @extend_schema(responses=ModelSerializer)
    def get(self, request: Request, name: str) -> Response:
        """One model."""
        return Response(self.get_serializer(_model(request, name)).data)


class PromoteModel(ModelView):
    @extend_schema(request=Reason, responses=ModelSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Make it its project's promoted policy, for a stated reason; the former one becomes replaced."""
        model = _model(request, name)
        if model.project is None:
            raise registry.RegistryError(
                "model", gettext("%(name)s belongs to no project, so it cannot be promoted.") % {"name": name}
            )
        self.project_to_train_in(model.project.slug)
        sent = self.sent(Reason)
        if not sent["reason"]:
            raise registry.RegistryError("reason", gettext("Say why: outside a round no gate is asked."))
        promoted = registry.promote(model, by=request.user, **sent)  # type: ignore[arg-type]
        return Response(self.get_serializer(promoted).data)


def _model(request: Request, name: str) -> Model:
    rows = Model.objects.visible_to(request.user).select_related("project", "parent", "run")  # type: ignore[arg-type]
    return get_object_or_404(rows, name=name)
