"""Projects, their members, and how far and how well the work goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access, assigning, membership, projects, rule_changes, standings
from annotation.api.authentication import caller
from annotation.api.serializers.projects import (
    AssignedSerializer,
    AssignSerializer,
    MemberSerializer,
    ProjectChange,
    ProjectInput,
    ProjectSerializer,
    StandingSerializer,
    StoodSerializer,
    TemplateSerializer,
)
from annotation.models import GuidelineVersion, Membership, Project, Role, User
from annotation.models.people import MANAGES, SEES_NAMES
from annotation.templates import TEMPLATES


class Projects(generics.GenericAPIView[Project]):
    serializer_class = ProjectSerializer
    ordering = "pk"

    def get_queryset(self) -> QuerySet[Project]:
        user = caller(self.request)
        role = Membership.objects.filter(user=user, project=OuterRef("pk")).values("role")[:1]
        return Project.objects.visible_to(user).annotate(found_role=Subquery(role))

    @extend_schema(operation_id="projects_list", responses=ProjectSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Projects the caller is a member of; all of them for a site admin."""
        page = self.paginate_queryset(self.get_queryset()) or []
        for project in page:
            project.my_role = Role.MANAGER if caller(request).is_superuser else project.found_role  # type: ignore[attr-defined]
        return self.get_paginated_response(_shown(page))

    @extend_schema(request=ProjectInput, responses={201: ProjectSerializer})
    def post(self, request: Request) -> Response:
        """Make a project; the caller manages it."""
        if not projects.may_create(caller(request)):
            raise PermissionDenied(gettext("Only admins and managers make projects."))
        sent = ProjectInput(data=request.data)
        sent.is_valid(raise_exception=True)
        project = projects.create(by=caller(request), **sent.validated_data)
        project.my_role = Role.MANAGER
        return Response(_shown([project])[0], status=201, headers={"Location": request.path + f"{project.slug}/"})


class Templates(APIView):
    @extend_schema(operation_id="templates_list", responses=TemplateSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Ready templates for new projects, each with all that it asks."""
        return Response(TemplateSerializer(list(TEMPLATES.values()), many=True).data)


class ProjectDetail(APIView):
    @extend_schema(responses=ProjectSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """One project."""
        return Response(_shown([access.project_for(caller(request), slug)])[0])

    @extend_schema(request=ProjectChange(partial=True), responses=ProjectSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """Change what a project is called, asks and hands out."""
        project = access.project_for(caller(request), slug, MANAGES)
        sent = ProjectChange(data=request.data, partial=True)
        sent.is_valid(raise_exception=True)
        projects.change(project, by=caller(request), **sent.validated_data)
        return Response(_shown([project])[0])


class Members(generics.GenericAPIView[Membership]):
    serializer_class = MemberSerializer
    ordering = "pk"

    @extend_schema(operation_id="members_list", responses=MemberSerializer(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """Who works here; for those who may see names."""
        project = access.project_for(caller(request), slug, SEES_NAMES)
        page = self.paginate_queryset(project.memberships.select_related("user"))
        return self.get_paginated_response(MemberSerializer(page, many=True).data)

    @extend_schema(request=MemberSerializer, responses={200: MemberSerializer, 201: MemberSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Give somebody with an account a role here, or another one."""
        project = access.project_for(caller(request), slug, MANAGES)
        sent = MemberSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        person = User.objects.filter(username=sent.validated_data["user"]["username"]).first()
        if person is None:
            raise ValidationError(
                {"username": [gettext("Nobody has this name; an admin makes accounts with create_user.")]}
            )
        member, created = membership.give_role(project, person, sent.validated_data["role"])
        return Response(MemberSerializer(member).data, status=201 if created else 200)


class MemberState(APIView):
    @extend_schema(request=StandingSerializer, responses=StoodSerializer)
    def post(self, request: Request, slug: str, username: str) -> Response:
        """Pause a member, let them go on, give their work to others, or settle their qualification."""
        project = access.project_for(caller(request), slug, MANAGES)
        sent = StandingSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        members = project.memberships.select_related("user", "project")
        member = members.filter(user__username=username).first()
        if member is None:
            raise Http404(gettext("There is no such member."))
        done = standings.act(member, sent.validated_data["action"])
        member.refresh_from_db()
        return Response({"done": done, "member": MemberSerializer(member).data})


class Assign(APIView):
    @extend_schema(request=AssignSerializer, responses=AssignedSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Give open tasks to named people, who get them before anything else."""
        project = access.project_for(caller(request), slug, MANAGES)
        sent = AssignSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        asked = dict(sent.validated_data.get("tasks", {}))
        limit, each = asked.pop("limit", None), sent.validated_data["each"]
        people = assigning.people_named(project, sent.validated_data["to"])
        missed = assigning.not_open(project, asked.get("ids"))
        report = assigning.assign(project, assigning.chosen(project, **asked), people, each=each, limit=limit)
        return Response(asdict(report) | {"not_open": missed})


def _shown(found: list[Project]) -> list[dict[str, Any]]:
    """Projects with their current guidelines and what is under way in them, read in one statement each."""
    applying = rule_changes.progress_of(found)
    latest: dict[int, tuple[int, str]] = {}
    versions = GuidelineVersion.objects.filter(project__in=found, is_imported=False).order_by("number")
    for project_id, number, text in versions.values_list("project", "number", "text"):
        latest[project_id] = (number, text)
    for project in found:
        project.guideline_shown = latest.get(project.pk)  # type: ignore[attr-defined]
        project.applying = applying.get(project.pk)  # type: ignore[attr-defined]
    return list(ProjectSerializer(found, many=True).data)
