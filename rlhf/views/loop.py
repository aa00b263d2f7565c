"""The loop of a project: where its round is, what needs a person, what the rounds brought."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from annotation.access import project_for
from annotation.models import Kind, Project
from annotation.models.people import READS_DATA, TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import figures, history, rounds, withdrawn
from rlhf.attention import notice_of
from rlhf.charts import shows_as_table
from rlhf.forests import forests
from rlhf.forms import AbandonForm, DecisionForm
from rlhf.models import Model, Round
from rlhf.stages import best_policy, stages_of
from rlhf.views.polling import unless_unchanged, version_of


@require_GET
@signed_in
def loop(request: PersonRequest, slug: str) -> HttpResponse:
    """The page of the present round, or of an earlier one (`?round=2`); its cards alone when htmx asks."""
    project = project_for(request.user, slug, READS_DATA)
    context = loop_context(request, project)
    if request.headers.get("HX-Target") == "stages":
        answer = lambda: render(request, "rlhf/_stages.html", context)  # noqa: E731
        return unless_unchanged(request, context["version"], answer)
    return render(request, "rlhf/loop.html", context)


def loop_context(
    request: PersonRequest,
    project: Project,
    form: DecisionForm | None = None,
    abandoning: AbandonForm | None = None,
) -> dict[str, Any]:
    """What the loop page shows; `form` and `abandoning` carry the errors of what was not accepted."""
    found = project.rounds.select_related(
        "start_model", "base_model", "snapshot", "reward_model__run", "promoted_model", "created_by"
    )
    asked = request.GET.get("round", "")
    newest = found.first()
    round = (found.filter(number=int(asked)).first() if asked.isdecimal() else None) or newest
    if round:
        round.project = project
    stages = stages_of(round) if round else []
    notice = notice_of(project, round, project.my_role)
    gone = withdrawn.behind_models()
    rows = history.rows_of(project, gone)
    chart = shows_as_table(history.bought(rows), request.GET.getlist("table"))
    trains = project.my_role in TRAINS
    promoted = Model.objects.filter(project=project, role="policy", state=Model.State.PROMOTED).first()
    return {
        "project": project,
        "round": round,
        "stages": stages,
        "notice": notice,
        "rows": rows,
        "simulated": figures.simulated_words(figures.simulated_share(row.rate for row in rows)),
        "chart": chart,
        "lineage": history.lineage(project, round),
        "promoted": promoted,
        "withdrawn": gone.get(promoted.pk) if promoted else None,
        "withdrawn_words": withdrawn.words(gone.get(promoted.pk, [])) if promoted else "",
        "decision": _decision(round) if round and trains else None,
        "form": form or DecisionForm(),
        "may_start": trains and project.kind == Kind.PREFERENCE and (newest is None or newest.is_ended),
        "next_number": newest.number + 1 if newest else 1,
        "may_train": trains,
        "abandoning": (abandoning or AbandonForm()) if trains and round and not round.is_ended else None,
        "compares": project.kind == Kind.PREFERENCE,
        "version": version_of(stages, notice),
        "is_open": round is not None and not round.is_ended,
    }


def _decision(round: Round) -> dict[str, Any] | None:
    """The candidates of a round that waits for a decision, each with its conditions and its interval."""
    if round.state != Round.State.DECIDE:
        return None
    conditions, passed = rounds.gate(round), rounds.best(round)
    known = round.evaluation.get("policies") or {}
    names = list(conditions)
    rates = {name: figures.estimate(known[name].get("preferred")) for name in names}
    pictures = forests([rates[name] for name in names])
    best = best_policy(round)
    candidates = [
        {
            "name": name,
            "conditions": conditions[name],
            "met": all(each["met"] for each in conditions[name]),
            "preferred": rates[name],
            "forest": picture,
            "is_best": bool(best and best[0] == name),
        }
        for name, picture in zip(names, pictures, strict=True)
    ]
    return {"candidates": candidates, "passed": passed, "keeps": _keeps(round)}


def _keeps(round: Round) -> str:
    """The policy that stays when every candidate is rejected."""
    promoted = Model.objects.filter(project=round.project, role="policy", state=Model.State.PROMOTED).first()
    return (promoted or round.start_model).name
