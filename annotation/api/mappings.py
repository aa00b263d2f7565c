"""What fields of files become, as it was said here: listed, changed and forgotten."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access
from annotation.api.authentication import caller
from annotation.api.serializers.fields import StoredBodyField, StrictSerializer
from annotation.cleaning import CleaningError
from annotation.mapping import Mapping
from annotation.models import FieldMapping
from annotation.models.people import MANAGES


class FieldMappingSerializer(serializers.ModelSerializer[FieldMapping]):
    columns = serializers.ListField(child=serializers.CharField())
    becomes = StoredBodyField()

    class Meta:
        model = FieldMapping
        fields = ["id", "columns", "becomes", "said_at"]
        read_only_fields = fields


class FieldMappingInput(StrictSerializer):
    becomes = serializers.DictField(child=serializers.CharField(max_length=40), allow_empty=True)

    def validate_becomes(self, given: dict[str, Any]) -> dict[str, str]:
        try:
            return Mapping.of(given).becomes
        except CleaningError as error:
            raise ValidationError(str(error)) from None


class FieldMappings(generics.GenericAPIView[FieldMapping]):
    serializer_class = FieldMappingSerializer

    @extend_schema(operation_id="mappings_list", responses=FieldMappingSerializer(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """What fields became in earlier imports, newest first; it is used for the next file with these fields."""
        project = access.project_for(caller(request), slug, MANAGES)
        page = self.paginate_queryset(project.mappings.all())
        return self.get_paginated_response(FieldMappingSerializer(page, many=True).data)


class OneFieldMapping(APIView):
    @extend_schema(request=FieldMappingInput, responses=FieldMappingSerializer)
    def patch(self, request: Request, slug: str, mapping_id: int) -> Response:
        """Change what the fields of the next such file become."""
        found = self._found(request, slug, mapping_id)
        sent = FieldMappingInput(data=request.data)
        sent.is_valid(raise_exception=True)
        found.becomes, found.said_by = sent.validated_data["becomes"], caller(request)
        found.save(update_fields=["becomes", "said_by", "said_at"])
        return Response(FieldMappingSerializer(found).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str, mapping_id: int) -> Response:
        """Forget it: the next such file is guessed."""
        self._found(request, slug, mapping_id).delete()
        return Response(status=204)

    def _found(self, request: Request, slug: str, mapping_id: int) -> FieldMapping:
        project = access.project_for(caller(request), slug, MANAGES)
        return get_object_or_404(project.mappings, pk=mapping_id)
