"""Who works in a project, in which role."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Max, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from annotation import access, forms
from annotation.models import Membership, Project, Role, User
from annotation.models.people import MANAGES
from annotation.shell import PersonRequest, signed_in

MAY = {
    Role.ANNOTATOR: "Judge, see own results",
    Role.REVIEWER: "Judge, see names, export",
    Role.TRAINER: "Snapshots, runs, models; no names",
    Role.MANAGER: "Everything in the project",
    Role.READER: "Read snapshots and exports",
}


@require_GET
@signed_in
def people(request: PersonRequest, slug: str) -> HttpResponse:
    """The members, with a form for one more."""
    return _page(request, access.project_for(request.user, slug, MANAGES))


@require_POST
@signed_in
def add_member(request: PersonRequest, slug: str) -> HttpResponse:
    """Give somebody who has an account a role here."""
    project = access.project_for(request.user, slug, MANAGES)
    form = forms.MemberForm(request.POST)
    if not form.is_valid():
        return _page(request, project, form=form, status=422)
    person = User.objects.get(username=form.cleaned_data["username"])
    member, new = Membership.objects.get_or_create(
        user=person, project=project, defaults={"role": form.cleaned_data["role"]}
    )
    if not new:
        form.add_error("username", f"{person.label} is here already, as {member.get_role_display().lower()}.")
        return _page(request, project, form=form, status=422)
    messages.success(request, f"{person.label} is now {member.get_role_display().lower()} here.")
    return redirect("annotation:people", slug)


@require_POST
@signed_in
def change_role(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    project = access.project_for(request.user, slug, MANAGES)
    member = get_object_or_404(project.memberships.select_related("user"), pk=member_id)
    form = forms.RoleForm(request.POST)
    if form.is_valid() and not _keeps_a_manager(project, member, form.cleaned_data["role"]):
        messages.error(request, "A project needs a manager: make somebody else one first.")
    elif form.is_valid():
        project.memberships.filter(pk=member.pk).update(role=form.cleaned_data["role"])
        messages.success(request, f"{member.user.label} is now {Role(form.cleaned_data['role']).label.lower()} here.")
    return redirect("annotation:people", slug)


@require_POST
@signed_in
def remove_member(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    """Take somebody's role away; what they judged stays."""
    project = access.project_for(request.user, slug, MANAGES)
    member = get_object_or_404(project.memberships.select_related("user"), pk=member_id)
    if not _keeps_a_manager(project, member, ""):
        messages.error(request, "A project needs a manager: make somebody else one first.")
    else:
        member.delete()
        messages.success(request, f"{member.user.label} no longer works here. Their judgments stay.")
    return redirect("annotation:people", slug)


def _keeps_a_manager(project: Project, member: Membership, role: str) -> bool:
    """Whether the project still has somebody to manage it once `member` has `role`; site admins are always there."""
    if member.role != Role.MANAGER or role == Role.MANAGER:
        return True
    others = project.memberships.filter(role=Role.MANAGER).exclude(pk=member.pk)
    return others.exists() or User.objects.filter(is_superuser=True, is_active=True).exists()


def _page(request: PersonRequest, project: Project, *, status: int = 200, **context: Any) -> HttpResponse:
    own = Q(user__annotations__project=project, user__annotations__status="submitted")
    members = project.memberships.select_related("user").annotate(
        judged=Count("user__annotations", filter=own), last=Max("user__annotations__created_at", filter=own)
    )
    context |= {
        "project": project,
        "members": [(member, MAY[Role(member.role)]) for member in members.order_by("user__username")],
        "roles": Role.choices,
    }
    context.setdefault("form", forms.MemberForm())
    return render(request, "annotation/people.html", context, status=status)
