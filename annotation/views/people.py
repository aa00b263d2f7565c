"""Who works in a project, in which role: members, links that invite, and accounts that end."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, OuterRef, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, accounts, forms, invitations, membership, people_forms, standings
from annotation.models import Annotation, Invitation, Membership, Project, Role, User
from annotation.models.people import MANAGES
from annotation.quality import reports
from annotation.shell import PersonRequest, signed_in

MAY = {
    Role.ANNOTATOR: gettext_noop("Judge, see own results"),
    Role.REVIEWER: gettext_noop("Judge, adjudicate, see names, export"),
    Role.TRAINER: gettext_noop("Snapshots, runs, models; no names"),
    Role.MANAGER: gettext_noop("Everything in the project"),
    Role.READER: gettext_noop("Read snapshots and exports"),
}


@require_GET
@signed_in
def people(request: PersonRequest, slug: str) -> HttpResponse:
    """The members, with a form for one more and the links that invite."""
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
    here = project.memberships.filter(user=person).first()
    if here is not None:
        form.add_error(
            "username",
            gettext("%(person)s is here already, as %(role)s.")
            % {"person": person.label, "role": gettext(here.get_role_display()).lower()},
        )
        return _page(request, project, form=form, status=422)
    member, _ = membership.give_role(project, person, form.cleaned_data["role"])
    messages.success(
        request,
        gettext("%(label)s is now %(what)s here.")
        % {"label": person.label, "what": gettext(member.get_role_display()).lower()},
    )
    return redirect("annotation:people", slug)


@require_POST
@signed_in
def change_role(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    """Give a member another role."""
    project, member = _member(request, slug, member_id)
    form = forms.RoleForm(request.POST)
    if form.is_valid():
        try:
            now, _ = membership.give_role(project, member.user, form.cleaned_data["role"])
        except membership.LastManager as error:
            messages.error(request, str(error))
        else:
            messages.success(
                request,
                gettext("%(label)s is now %(what)s here.")
                % {"label": member.user.label, "what": gettext(now.get_role_display()).lower()},
            )
    return redirect("annotation:people", slug)


@require_POST
@signed_in
def remove_member(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    """Take somebody's role away; what they judged stays."""
    project, member = _member(request, slug, member_id)
    try:
        membership.remove(project, member.user)
    except membership.LastManager as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, gettext("%(label)s no longer works here. Their judgments stay.") % {"label": member.user.label}
        )
    return redirect("annotation:people", slug)


@never_cache
@require_POST
@signed_in
def invite(request: PersonRequest, slug: str) -> HttpResponse:
    """A link that lets people in; it is on the page that answers, and nowhere else."""
    project = access.project_for(request.user, slug, MANAGES)
    form = people_forms.InviteForm(request.POST)
    if not form.is_valid():
        return _page(request, project, invite_form=form, status=422)
    _, secret = invitations.invite(project, by=request.user, **form.cleaned_data)
    return _page(request, project, link=request.build_absolute_uri(reverse("annotation:join", args=[secret])))


@require_POST
@signed_in
def revoke_invitation(request: PersonRequest, slug: str, invitation_id: int) -> HttpResponse:
    """Take a link back; who came through it stays."""
    project = access.project_for(request.user, slug, MANAGES)
    invitations.revoke(get_object_or_404(project.invitations, pk=invitation_id))
    messages.success(request, gettext("The link lets nobody in any more."))
    return redirect("annotation:people", slug)


@require_POST
@signed_in
def deactivate(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    """Close a member's account, or open a closed one again."""
    _, member = _member(request, slug, member_id)
    person = member.user
    try:
        if person.is_active:
            accounts.deactivate(person, by=request.user)
            messages.success(
                request,
                gettext("%(label)s is signed out everywhere. What they held is free again.") % {"label": person.label},
            )
        else:
            accounts.reactivate(person, by=request.user)
            messages.success(request, gettext("%(label)s may sign in again.") % {"label": person.label})
    except (accounts.MayNot, membership.LastManager) as error:
        messages.error(request, str(error))
    return redirect("annotation:people", slug)


@require_http_methods(["GET", "POST"])
@signed_in
def pseudonymise(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    """Ask a second time, by the name typed out; a POST takes the name away for good."""
    project, member = _member(request, slug, member_id)
    if not accounts.may_close(request.user, member.user):
        messages.error(
            request, gettext("Only a site admin, or who manages all projects this person works in, may do this.")
        )
        return redirect("annotation:people", slug)
    error = ""
    if request.method == "POST":
        if request.POST.get("name", "").strip() == member.user.username:
            try:
                name = accounts.pseudonymise(member.user, by=request.user)
            except membership.LastManager as refused:
                error = str(refused)
            else:
                messages.success(
                    request,
                    gettext("The name is gone. This person is %(name)s everywhere from now on.") % {"name": name},
                )
                return redirect("annotation:people", slug)
        else:
            error = gettext("Type %(name)s exactly. Nothing was changed.") % {"name": member.user.username}
    context = {"project": project, "member": member, "error": error, "pseudonym": accounts.pseudonym(member.user)}
    return render(request, "annotation/pseudonymise.html", context, status=422 if error else 200)


@require_POST
@signed_in
def change_state(request: PersonRequest, slug: str, member_id: int) -> HttpResponse:
    """Pause somebody, let them go on, give their work to others, or settle their qualification."""
    _, member = _member(request, slug, member_id)
    try:
        messages.success(request, standings.act(member, str(request.POST.get("action", ""))))
    except standings.UnknownAction as error:
        messages.error(request, str(error))
    return redirect("annotation:people", slug)


def _member(request: PersonRequest, slug: str, member_id: int) -> tuple[Project, Membership]:
    project = access.project_for(request.user, slug, MANAGES)
    return project, get_object_or_404(project.memberships.select_related("user"), pk=member_id)


def _page(request: PersonRequest, project: Project, *, status: int = 200, **context: Any) -> HttpResponse:
    newest = Annotation.objects.standing().filter(annotator=OuterRef("user"), project=project).order_by("-created_at")
    members = project.memberships.select_related("user").annotate(last=Subquery(newest.values("created_at")[:1]))
    rows, judged = list(members.order_by("user__username")), _judged(project)
    closable = accounts.closable(request.user, [one.user for one in rows])
    context |= {
        "project": project,
        "members": [
            (
                one,
                gettext(MAY[Role(one.role)]),
                one.user_id in closable,
                standings.of(project, one),
                judged.get(one.user_id, 0),
            )
            for one in rows
        ],
        "roles": forms.worded(Role.choices),
        "invitations": Invitation.objects.open().filter(project=project).select_related("created_by").order_by("-pk"),
    }
    context.setdefault("form", forms.MemberForm())
    context.setdefault("invite_form", people_forms.InviteForm())
    return render(request, "annotation/people.html", context, status=status)


def _judged(project: Project) -> dict[int, int]:
    """{person: standing judgements}; a large project's are those of its report."""
    if not reports.is_small(project):
        return {row["annotator"]: row["count"] for row in reports.of(project).data.get("annotators", [])}
    standing = Annotation.objects.standing().filter(project=project).order_by()
    return dict(standing.values_list("annotator").annotate(n=Count("pk")))
