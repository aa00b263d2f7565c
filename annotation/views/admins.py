"""Site admins make others site admins, on their account page."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from annotation import admins
from annotation.models import User
from annotation.shell import PersonRequest, signed_in


@require_POST
@signed_in
def grant_admin(request: PersonRequest) -> HttpResponse:
    """Make somebody with an account a site admin."""
    _check(request)
    try:
        user = admins.grant(str(request.POST.get("username", "")).strip())
    except admins.NotAnAdmin as error:
        messages.error(request, str(error))
    else:
        messages.success(request, gettext("%(user)s may do everything everywhere from now on.") % {"user": user.label})
    return redirect("annotation:account")


@require_POST
@signed_in
def revoke_admin(request: PersonRequest, user_id: int) -> HttpResponse:
    """Make a site admin an ordinary account again."""
    _check(request)
    user = get_object_or_404(User, pk=user_id, is_superuser=True)
    try:
        admins.revoke(user)
    except admins.NotAnAdmin as error:
        messages.error(request, str(error))
    else:
        messages.success(request, gettext("%(user)s is no site admin any more.") % {"user": user.label})
    return redirect("annotation:account")


def _check(request: PersonRequest) -> None:
    if not request.user.is_superuser:
        raise Http404
