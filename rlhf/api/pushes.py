"""Snapshots to the Hugging Face hub."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.models import User
from rlhf import hub, pushing
from rlhf.api.views import LoopView
from rlhf.models import Push, Snapshot


class PushSerializer(serializers.ModelSerializer[Push]):
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)

    class Meta:
        model = Push
        fields = ["id", "repository", "public", "state", "address", "problem", "created_by", "created_at"]
        read_only_fields = fields


class PushInput(StrictSerializer):
    repository = CleanCharField(max_length=200, help_text="owner/name on the hub")
    public = serializers.BooleanField(default=False, help_text="What a new repository becomes.")


class Pushes(LoopView):
    serializer_class = PushSerializer
    queryset = Push.objects.none()

    @extend_schema(operation_id="snapshot_pushes_list", responses=PushSerializer(many=True))
    def get(self, request: Request, pk: int) -> Response:
        """How often this snapshot was pushed to the hub, where to, and how far each push is; newest first."""
        page = self.paginate_queryset(self._snapshot(pk).pushes.select_related("created_by"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=PushInput, responses={202: PushSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Push the folder as it is; the worker does it, and the list tells how far it is. Needs HF_TOKEN."""
        snapshot = self._snapshot(pk)
        self.project_to_train_in(snapshot.project.slug)
        asked: dict[str, Any] = self.sent(PushInput)
        try:
            made = pushing.start(snapshot, asked["repository"], public=asked["public"], by=request.user)  # type: ignore[arg-type]
        except hub.HubError as error:
            raise ValidationError({"repository": [str(error)]}) from error
        return Response(self.get_serializer(made).data, status=202)

    def _snapshot(self, pk: int) -> Snapshot:
        rows = Snapshot.objects.visible_to(self.request.user).select_related("project")  # type: ignore[arg-type]
        return get_object_or_404(rows, pk=pk)
