"""Site admins, for programs of site admins."""

from __future__ import annotations

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import admins
from annotation.api.authentication import caller
from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.models import User


class AdminInput(StrictSerializer):
    username = CleanCharField(max_length=150)


class AdminSerializer(serializers.ModelSerializer[User]):
    class Meta:
        model = User
        fields = ["username", "last_login"]
        read_only_fields = fields


class Admins(generics.GenericAPIView[User]):
    serializer_class = AdminSerializer
    ordering = ("username",)

    @extend_schema(operation_id="admins_list", responses=AdminSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Who may do everything everywhere."""
        _check(request)
        page = self.paginate_queryset(User.objects.filter(is_superuser=True, is_active=True))
        return self.get_paginated_response(AdminSerializer(page, many=True).data)

    @extend_schema(request=AdminInput, responses={201: AdminSerializer})
    def post(self, request: Request) -> Response:
        """Make somebody with an account a site admin."""
        _check(request)
        sent = AdminInput(data=request.data)
        sent.is_valid(raise_exception=True)
        return Response(AdminSerializer(admins.grant(sent.validated_data["username"])).data, status=201)


class Admin(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, username: str) -> Response:
        """Make a site admin an ordinary account again; the last one stays."""
        _check(request)
        admins.revoke(get_object_or_404(User, username=username, is_superuser=True))
        return Response(status=204)


def _check(request: Request) -> None:
    if not caller(request).is_superuser:
        raise Http404
