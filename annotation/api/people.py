"""Links that invite, and members who leave."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access, accounts, invitations, membership
from annotation.api.authentication import caller
from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.api.serializers.projects import MemberSerializer
from annotation.models import Invitation, Membership, Role
from annotation.models.people import MANAGES


class InvitationInput(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices)
    uses = serializers.IntegerField(min_value=1, max_value=invitations.MOST_USES, default=1)
    days = serializers.IntegerField(min_value=1, max_value=invitations.MOST_DAYS, default=7)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = Invitation
        fields = ["id", "role", "uses", "most_uses", "revoked", "created_by", "created_at", "expires_at"]
        read_only_fields = fields


class NewInvitationSerializer(InvitationSerializer):
    link = serializers.CharField(help_text="Shown now and never again.")

    class Meta(InvitationSerializer.Meta):
        fields = [*InvitationSerializer.Meta.fields, "link"]
        read_only_fields = fields


class AccountInput(StrictSerializer):
    action = serializers.ChoiceField(choices=["deactivate", "reactivate", "pseudonymise"])
    confirm = CleanCharField(
        required=False, max_length=150, help_text="pseudonymise: the user name once more, for it cannot be undone"
    )


class Invitations(generics.GenericAPIView[Invitation]):
    serializer_class = InvitationSerializer

    @extend_schema(operation_id="invitations_list", responses=InvitationSerializer(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """Links into the project, newest first; their secrets are not kept."""
        project = access.project_for(caller(request), slug, MANAGES)
        page = self.paginate_queryset(project.invitations.select_related("created_by"))
        return self.get_paginated_response(InvitationSerializer(page, many=True).data)

    @extend_schema(request=InvitationInput, responses={201: NewInvitationSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Make a link that lets people in."""
        project = access.project_for(caller(request), slug, MANAGES)
        sent = InvitationInput(data=request.data)
        sent.is_valid(raise_exception=True)
        made, secret = invitations.invite(project, by=caller(request), **sent.validated_data)
        made.link = request.build_absolute_uri(reverse("annotation:join", args=[secret]))  # type: ignore[attr-defined]
        return Response(NewInvitationSerializer(made).data, status=201)


class InvitationDetail(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str, invitation_id: int) -> Response:
        """Take a link back."""
        project = access.project_for(caller(request), slug, MANAGES)
        invitations.revoke(get_object_or_404(project.invitations, pk=invitation_id))
        return Response(status=204)


class Member(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str, username: str) -> Response:
        """Take somebody's role away; what they judged stays."""
        seat = self._seat(request, slug, username)
        membership.remove(seat.project, seat.user)
        return Response(status=204)

    @extend_schema(operation_id="members_close", request=AccountInput, responses=MemberSerializer)
    def post(self, request: Request, slug: str, username: str) -> Response:
        """Close a member's account, open it again, or take the name away for good."""
        seat = self._seat(request, slug, username)
        sent = AccountInput(data=request.data)
        sent.is_valid(raise_exception=True)
        action, given = sent.validated_data["action"], sent.validated_data.get("confirm")
        if action == "pseudonymise" and given != seat.user.username:
            raise ValidationError({"confirm": [gettext("Give the user name once more: this cannot be undone.")]})
        acts: dict[str, Any] = {
            "deactivate": accounts.deactivate,
            "reactivate": accounts.reactivate,
            "pseudonymise": accounts.pseudonymise,
        }
        acts[action](seat.user, by=caller(request))
        return Response(MemberSerializer(seat).data)

    def _seat(self, request: Request, slug: str, username: str) -> Membership:
        project = access.project_for(caller(request), slug, MANAGES)
        return get_object_or_404(project.memberships.select_related("user", "project"), user__username=username)
