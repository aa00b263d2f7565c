"""Lineage both ways, what changed between snapshots, and the page on which data is withdrawn."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_http_methods

from annotation.access import project_for
from annotation.cleaning import CleaningError
from annotation.models import Project, User
from annotation.models.people import MANAGES, READS_DATA, SEES_NAMES
from annotation.shell import PersonRequest, signed_in
from rlhf import comparing, lineage, recipe_words, withdrawing, withdrawn
from rlhf.forms import Styled
from rlhf.models import Model, Run, Snapshot
from rlhf.views.snapshots import by_place

MOST_TEXT = 300


class LookForm(Styled):
    """Whose judgements, or on what."""

    annotator = forms.CharField(
        required=False, max_length=150, label=_("Annotator"), help_text=_("User name of somebody who judged here")
    )
    annotation = forms.IntegerField(required=False, min_value=1, label=_("Judgment"), help_text=_("Its number"))
    task = forms.IntegerField(
        required=False, min_value=1, label=_("Task"), help_text=_("Its number; stands for its prompt")
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        self.project = project
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        given = [name for name in ("annotator", "annotation", "task") if data.get(name)]
        if len(given) != 1 and not self.errors:
            raise forms.ValidationError(gettext("Fill in one of the three."))
        name, annotation, task = (data.get(field) for field in ("annotator", "annotation", "task"))
        if name:
            judges = User.objects.filter(username=name, pk__in=self.project.annotations.values("annotator"))
            data["found"] = {
                "annotator": self._one(
                    judges, "annotator", gettext("Nobody called %(name)s judged here.") % {"name": name}
                )
            }
        elif annotation:
            rows = self.project.annotations.filter(pk=annotation)
            data["found"] = {
                "annotation": self._one(
                    rows, "annotation", gettext("There is no judgment %(number)s here.") % {"number": annotation}
                )
            }
        elif task:
            prompts = self.project.tasks.filter(pk=task)
            data["found"] = {
                "task": self._one(prompts, "task", gettext("There is no task %(number)s here.") % {"number": task})
            }
        return data

    def _one(self, rows: Any, field: str, words: str) -> Any:
        if (found := rows.first()) is None:
            self.add_error(field, words)
        return found


@require_GET
@signed_in
def model_lineage(request: PersonRequest, name: str) -> HttpResponse:
    """Everything behind a model, as a page."""
    rows = Model.objects.visible_to(request.user).select_related("project", "parent", "run__snapshot")
    row = get_object_or_404(rows, name=name)
    project = row.project or Project.objects.data_readable_by(request.user).first()
    told = lineage.shown_to(request.user, lineage.behind(row))
    for run in told["runs"]:
        run |= {"label": gettext(Run.Kind(run["kind"]).label), "state_label": gettext(Run.State(run["state"]).label)}
    for one in told["models"]:
        one["state_label"] = gettext(Model.State(one["state"]).label)
    return render(request, "rlhf/model_lineage.html", {"model": row, "project": project, "told": told})


@require_GET
@signed_in
def diff_snapshots(request: PersonRequest, slug: str, pk: int, older: int) -> HttpResponse:
    """Rows added, removed and changed between two snapshots, and why."""
    project = project_for(request.user, slug, READS_DATA)
    rows = Snapshot.objects.filter(project=project)
    newer = get_object_or_404(rows, pk=pk)
    before = get_object_or_404(rows, pk=older, type=newer.type)
    told = comparing.compared(before, newer)
    context: dict[str, Any] = {"project": project, "newer": newer, "older": before, "told": told}
    if told is not None:
        context["sorts"] = [_sort(name, told[name]) for name in ("added", "removed", "changed")]
        context["recipe"] = [
            (recipe_words.name_of(key), *(recipe_words.words(key, value) for value in pair))
            for key, pair in told["recipe"].items()
        ]
    return render(request, "rlhf/snapshot_diff.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def data_lineage(request: PersonRequest, slug: str) -> HttpResponse:
    """What one person's, one judgement's or one prompt's data reached; a manager withdraws it here, asked twice."""
    project = project_for(request.user, slug, SEES_NAMES)
    asked = request.POST if request.method == "POST" else request.GET
    form = LookForm(asked if any(asked.get(name) for name in LookForm.base_fields) else None, project=project)
    context: dict[str, Any] = {"project": project, "form": form, "may_withdraw": project.my_role in MANAGES}
    status = 200
    if form.is_bound and form.is_valid():
        found = form.cleaned_data["found"]
        if "annotation" in found:
            context["reach"] = {"judgements": 1, **lineage.reached(project, [found["annotation"].pk])}
        else:
            if request.method == "POST":
                reply = _withdraw(request, project, found, context)
                if reply:
                    return reply
                status = 422
            context |= {"reach": withdrawing.effects(project, **found), "withdrawable": True}
        context["asked"] = {name: asked.get(name) for name in LookForm.base_fields if asked.get(name)}
    elif form.is_bound:
        status = 422
    if reach := context.get("reach"):
        _name_states(reach)
    trail = list(project.withdrawals.select_related("annotator", "created_by")[:50])
    retrain = withdrawn.retrain(trail)
    context["trail"] = [(one, retrain[one.pk]) for one in trail]
    return render(request, "rlhf/data_lineage.html", context, status=status)


def _name_states(reach: dict[str, Any]) -> None:
    for one in reach["models"]:
        one["state_label"] = gettext(Model.State(one["state"]).label)
    for one in reach["runs"]:
        one["state_label"] = gettext(Run.State(one["state"]).label)


def _withdraw(
    request: PersonRequest, project: Project, found: dict[str, Any], context: dict[str, Any]
) -> HttpResponse | None:
    """Ask again, or do it and go back to the page; None puts the complaint on it."""
    project_for(request.user, project.slug, MANAGES)
    reason = request.POST.get("reason", "")
    context["reason"] = reason
    if "sure" not in request.POST:
        context["sure"] = bool(reason.strip())
        context["problem"] = "" if reason.strip() else gettext("Say why: the record is kept for ever.")
        return None
    try:
        made = withdrawing.withdraw(project, by=request.user, reason=reason, **found)
    except withdrawing.WithdrawalError as error:
        context["problem"] = str(error)
        return None
    except CleaningError as error:
        context["problem"] = error.message
        return None
    messages.success(
        request,
        gettext("%(what)s judgments are withdrawn from everything cut from now on.")
        % {"what": f"{made.effects['judgements']:,}"},
    )
    return redirect("rlhf:data_lineage", project.slug)


SORTS = {"added": gettext_noop("Added"), "removed": gettext_noop("Removed"), "changed": gettext_noop("Changed")}
TEXTS = {
    "prompt": gettext_noop("Prompt"),
    "chosen": gettext_noop("Chosen"),
    "rejected": gettext_noop("Rejected"),
    "completion": gettext_noop("Answer"),
}


def _sort(name: str, told: dict[str, Any]) -> dict[str, Any]:
    examples = [_example(one) for one in told["examples"]]
    return {"name": name, "title": gettext(SORTS[name]), **told, "examples": examples}


def _example(told: dict[str, Any]) -> dict[str, Any]:
    row = told["row"]
    texts = [(gettext(word), row[name][-1]["content"][:MOST_TEXT]) for name, word in TEXTS.items() if row.get(name)]
    texts += [(gettext("Place %(place)s") % {"place": f"{place:g}"}, text[:MOST_TEXT]) for place, text in by_place(row)]
    return {"why": told["why"], "part": told["part"], "texts": texts}
