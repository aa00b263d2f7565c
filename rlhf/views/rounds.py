"""Rounds: start one, decide one, help one on."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from annotation.access import project_for
from annotation.models.people import TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import plans, rounds
from rlhf.forms import AbandonForm, DecisionForm, RoundForm
from rlhf.models import Model, Round
from rlhf.registry import RegistryError
from rlhf.views.loop import loop_context


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_round(request: PersonRequest, slug: str) -> HttpResponse:
    """Ask for what a round needs and start it; the plan is checked whole before anything is stored."""
    project = project_for(request.user, slug, TRAINS)
    try:
        rounds.refuse_a_second(project)
    except rounds.RoundError as error:
        messages.warning(request, str(error))
        return redirect("rlhf:loop", project.slug)
    if request.method != "POST":
        return render(
            request, "rlhf/new_round.html", {"project": project, "form": RoundForm(project=project, user=request.user)}
        )
    form = RoundForm(request.POST, request.FILES, project=project, user=request.user)
    if form.is_valid():
        try:
            asked: dict[str, Any] = {"prompts_to_label": form.pool(), **form.models()}
            round = rounds.start_round(project, form.plan(), by=request.user, **asked)
            if warning := round.plan.get("warning"):
                messages.warning(request, warning)
            return redirect("rlhf:loop", project.slug)
        except (plans.PlanError, rounds.RoundError) as error:
            form.add_error(form.field_of(error), str(error))
    return render(request, "rlhf/new_round.html", {"project": project, "form": form}, status=422)


@require_POST
@signed_in
def decide(request: PersonRequest, slug: str, number: int) -> HttpResponse:
    """Promote one of the round's policies or reject them all, with a reason."""
    project = project_for(request.user, slug, TRAINS)
    round = get_object_or_404(Round, project=project, number=number)
    form = DecisionForm(request.POST, names=rounds.candidates(round))
    if not form.is_valid():
        return render(request, "rlhf/loop.html", loop_context(request, project, form), status=422)
    reason, name = form.cleaned_data["reason"], form.cleaned_data["promote"]
    try:
        if name:
            rounds.promote(round, Model.objects.get(name=name), by=request.user, reason=reason)
        else:
            rounds.reject(round, by=request.user, reason=reason)
    except (rounds.RoundError, RegistryError) as error:
        if round.state == Round.State.DECIDE:
            form.add_error("reason", str(error))
            return render(request, "rlhf/loop.html", loop_context(request, project, form), status=422)
        messages.warning(request, str(error))
    return redirect("rlhf:loop", project.slug)


@require_POST
@signed_in
def abandon_round(request: PersonRequest, slug: str, number: int) -> HttpResponse:
    """End a round before its decision, with a reason."""
    project = project_for(request.user, slug, TRAINS)
    round = get_object_or_404(Round, project=project, number=number)
    form = AbandonForm(request.POST)
    if not form.is_valid():
        return render(request, "rlhf/loop.html", loop_context(request, project, abandoning=form), status=422)
    try:
        rounds.abandon(round, by=request.user, reason=form.cleaned_data["reason"])
    except rounds.RoundError as error:
        messages.warning(request, str(error))
    return redirect("rlhf:loop", project.slug)


@require_POST
@signed_in
def continue_round(request: PersonRequest, slug: str, number: int) -> HttpResponse:
    """Stop waiting for people and go on with the judgements that are there."""
    project = project_for(request.user, slug, TRAINS)
    try:
        rounds.finish_step(get_object_or_404(Round, project=project, number=number))
    except rounds.RoundError as error:
        messages.warning(request, str(error))
    return redirect("rlhf:loop", project.slug)


@require_POST
@signed_in
def retry_round(request: PersonRequest, slug: str, number: int) -> HttpResponse:
    """Try the step that stopped once more."""
    project = project_for(request.user, slug, TRAINS)
    try:
        rounds.retry(get_object_or_404(Round, project=project, number=number))
    except (plans.PlanError, rounds.RoundError) as error:
        messages.warning(request, str(error))
    return redirect("rlhf:loop", project.slug)
