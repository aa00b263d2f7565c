"""Coming in through a link, with an account or by making one."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login as start_session
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from annotation import invitations, people_forms, shell
from annotation.models import Invitation, User
from annotation.writes import write_transaction

BACKEND = "django.contrib.auth.backends.ModelBackend"


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, secret: str) -> HttpResponse:
    """What the link invites to; a POST joins, with the account one is signed in with or with a new one."""
    try:
        invitation = invitations.find(secret)
    except invitations.NotInvited as error:
        return render(request, "annotation/join.html", {"problem": str(error)}, status=404)
    if isinstance(request.user, User):
        return _join(request, invitation, request.user) if request.method == "POST" else _page(request, invitation)
    form = people_forms.JoinForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        return _page(request, invitation, form=form, status=422 if request.method == "POST" else 200)
    user = User(username=form.cleaned_data["username"])
    user.set_password(form.cleaned_data["password"])  # takes half a second on purpose, so not in the transaction
    refusal = ""
    try:
        with write_transaction():
            user.save()
            try:
                invitations.join(invitation, user)
            except invitations.NotInvited as error:
                refusal = str(error)
                user.delete()
    except IntegrityError:  # somebody took the name at this very moment
        form.add_error("username", gettext("Somebody has this name already. If it is you, sign in."))
        return _page(request, invitation, form=form, status=422)
    if refusal:
        return render(request, "annotation/join.html", {"problem": refusal}, status=404)
    start_session(request, user, backend=BACKEND)
    return _welcome(request, invitation, user)


def _join(request: HttpRequest, invitation: Invitation, user: User) -> HttpResponse:
    try:
        invitations.join(invitation, user)
    except invitations.NotInvited as error:
        return render(request, "annotation/join.html", {"problem": str(error)}, status=404)
    return _welcome(request, invitation, user)


def _welcome(request: HttpRequest, invitation: Invitation, user: User) -> HttpResponse:
    project = invitation.project
    messages.success(request, gettext("Welcome to %(name)s.") % {"name": project.name})
    return redirect(shell.first_page(project, str(project.role_of(user))))


def _page(
    request: HttpRequest, invitation: Invitation, *, form: people_forms.JoinForm | None = None, status: int = 200
) -> HttpResponse:
    context = {"invitation": invitation, "project": invitation.project, "form": form}
    return render(request, "annotation/join.html", context, status=status)
