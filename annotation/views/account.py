"""Signing in and out, one's own password, theme, keys and API tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import login as start_session
from django.contrib.auth import logout as end_session
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from annotation import admins, forms
from annotation.models import ApiToken
from annotation.shell import PersonRequest, signed_in

YEAR = 365 * 24 * 3600


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """The sign-in page; a script that signs in again gets 204, or 422 with the reason."""
    form = AuthenticationForm(request, request.POST or None)
    by_script = request.headers.get("X-Requested-With") == "fetch"
    if request.method == "POST" and form.is_valid():
        start_session(request, form.get_user())
        return HttpResponse(status=204) if by_script else redirect(_onward(request))
    if request.method == "POST" and by_script:
        return HttpResponse(gettext("Name and password do not match."), status=422, content_type="text/plain")
    if request.user.is_authenticated and request.method == "GET":
        return redirect("annotation:home")
    context = {"form": form, "next": request.POST.get("next") or request.GET.get("next", "")}
    return render(request, "annotation/login.html", context, status=422 if request.method == "POST" else 200)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    end_session(request)
    return redirect("annotation:login")


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
@signed_in
def account(request: PersonRequest) -> HttpResponse:
    """One's own account; a POST changes the password."""
    password = PasswordChangeForm(request.user, request.POST or None)
    if request.method == "POST" and password.is_valid():
        password.save()
        update_session_auth_hash(request, password.user)
        messages.success(request, gettext("Your password is changed. Other browsers are signed out."))
        return redirect("annotation:account")
    return _page(request, password=password, status=422 if request.method == "POST" else 200)


@require_POST
@signed_in
def preferences(request: PersonRequest) -> HttpResponse:
    """Remember this person's theme and keys."""
    form = forms.PreferencesForm(request.POST)
    if not form.is_valid():
        return HttpResponse(gettext("No such preference."), status=422, content_type="text/plain")
    sent = {
        name: value for name, value in form.cleaned_data.items() if name in request.POST and value not in (None, "")
    }
    request.user.preferences |= sent
    request.user.save(update_fields=["preferences"])
    if request.headers.get("X-Requested-With") == "fetch":
        response = HttpResponse(status=204)
    else:
        messages.success(request, gettext("Your preferences are saved."))
        response = redirect("annotation:account")
    if "theme" in sent:
        response.set_cookie("theme", sent["theme"], max_age=YEAR, samesite="Lax", secure=request.is_secure())
    return response


@never_cache
@require_POST
@signed_in
def create_token(request: PersonRequest) -> HttpResponse:
    """A new API token; its secret is on the page that answers, and nowhere else."""
    form = forms.TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, token_form=form, status=422)
    sent = form.cleaned_data
    token, secret = ApiToken.issue(request.user, days=sent["days"], name=sent["name"], scope=sent["scope"])
    return _page(request, secret=secret, new_token=token)


@require_POST
@signed_in
def revoke_token(request: PersonRequest, token_id: int) -> HttpResponse:
    """End a token of one's own at once."""
    token = get_object_or_404(ApiToken, pk=token_id, user=request.user)
    token.delete()
    messages.success(request, gettext("The token %(what)s is revoked.") % {"what": token.name or token_id})
    return redirect("annotation:account")


def _page(request: PersonRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    context.setdefault("password", PasswordChangeForm(request.user))
    context.setdefault("token_form", forms.TokenForm())
    context["themes"] = forms.THEME_CHOICES
    context["admins"] = admins.listed() if request.user.is_superuser else []
    context["tokens"] = request.user.tokens.order_by("-created_at")
    for field in context["password"].fields.values():
        field.widget.attrs["class"] = "input"
        field.widget.attrs.pop("autofocus", None)
        field.help_text = ""
    return render(request, "annotation/account.html", context, status=status)


def _onward(request: HttpRequest) -> str:
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return target if safe else "/"
