"""A snapshot on its way to the hub."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotation.access import project_for
from annotation.models.people import TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import hub, pushing
from rlhf.push_form import PushForm, hub_card
from rlhf.views.snapshots import find_snapshot


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def pushes(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """The card, asked for again while a push is under way; posting it starts one."""
    row = find_snapshot(request, slug, pk)
    if request.method != "POST":
        return render(request, "rlhf/_pushes.html", hub_card(row))
    project_for(request.user, slug, TRAINS)
    form = PushForm(request.POST)
    if form.is_valid():
        try:
            pushing.start(row, form.cleaned_data["repository"], public=form.cleaned_data["public"], by=request.user)
        except hub.HubError as error:
            form.add_error("repository", str(error))
    if "HX-Request" not in request.headers and not form.errors:
        return redirect(row)
    context = hub_card(row, form if form.errors else None)
    return render(request, "rlhf/_pushes.html", context, status=422 if form.errors else 200)
