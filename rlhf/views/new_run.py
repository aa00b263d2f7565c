"""The new-run page: choose a method by what there is, see what it will need, queue it."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST

from annotation.access import project_for
from annotation.models import Project
from annotation.models.people import TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import runs
from rlhf.forms import policies_of
from rlhf.models import Model, Run, Snapshot
from rlhf.preflight import estimate, trained_numbers
from rlhf.run_form import KINDS, METHODS, SHAPES, RunForm, adapters_of, initial_from
from training.runfile import RunFileError, compatibility


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_run(request: PersonRequest, slug: str) -> HttpResponse:
    """The form of one method; posting it queues the run."""
    project = project_for(request.user, slug, TRAINS)
    if request.method != "POST":
        form = _empty_form(project, request.GET)
        return render(request, "rlhf/new_run.html", _context(project, form))
    form = _filled_form(project, request.POST)
    if form.is_valid():
        try:
            name = form.cleaned_data["name"] or None
            run = runs.create(project, form.run_kind, name=name, by=request.user, **form.options())
            return redirect(run)
        except RunFileError as error:
            form.refuse(error)
    return render(request, "rlhf/new_run.html", _context(project, form), status=422)


@require_POST
@signed_in
def preflight(request: PersonRequest, slug: str) -> HttpResponse:
    """What the run would need as the form stands, and every problem with a link to its field."""
    project = project_for(request.user, slug, TRAINS)
    form = _filled_form(project, request.POST)
    return render(request, "rlhf/_preflight.html", _preflight(project, form), status=200 if form.is_valid() else 422)


def _empty_form(project: Project, query: QueryDict) -> RunForm:
    """The form as the address asks for it: like another run, or for a method, model or snapshot."""
    initial: dict[str, Any] = {}
    if query.get("copy", "").isdecimal():
        copied = get_object_or_404(Run, project=project, pk=query.get("copy", ""))
        if copied.kind not in KINDS:
            raise Http404
        try:
            initial = initial_from(copied, query.getlist("set"))
        except RunFileError as error:
            raise Http404(str(error)) from error
    named = ("kind", "adapter", "name", "start_model", "reward_model", "snapshot", "template", "seed")
    initial |= {name: query[name] for name in named if query.get(name)}
    if not initial.get("kind") and query.get("snapshot", "").isdecimal():
        kinds = {"sft": "sft", "binary": "kto", **dict.fromkeys(runs.READS[Run.Kind.REWARD], "reward")}
        snapshot = Snapshot.objects.filter(project=project, pk=query.get("snapshot", "")).first()
        initial["kind"] = kinds.get(snapshot.type) if snapshot else None
    kind, adapter = _kind_and_adapter(initial | _adapter_of_start(project, initial))
    return RunForm(project=project, kind=kind, adapter=adapter, initial=initial | {"kind": kind, "adapter": adapter})


def _adapter_of_start(project: Project, initial: dict[str, Any]) -> dict[str, Any]:
    """The method of the start model (by default the newest), where that is an adapter, which goes on as what it is."""
    rows, key = policies_of(project), str(initial.get("start_model") or "")
    start = rows.filter(pk=key).first() if key.isdecimal() else rows.first()
    if start is None or not start.is_adapter:
        return {}
    try:
        method = compatibility.saved_adapter(start.folder)["method"]
    except (OSError, ValueError):  # somebody removed its files; said when it is chosen
        return {}
    return {"adapter": "qlora" if (initial.get("adapter"), method) == ("qlora", "lora") else method}


def _filled_form(project: Project, data: QueryDict) -> RunForm:
    kind, adapter = _kind_and_adapter(data)
    return RunForm(data, project=project, kind=kind, adapter=adapter)


def _kind_and_adapter(data: Any) -> tuple[str, str]:
    kind = data.get("kind") if data.get("kind") in KINDS else "reward"
    adapter = data.get("adapter") or "lora"
    return kind, adapter if adapter in dict(adapters_of(kind)) else "lora"


def _context(project: Project, form: RunForm) -> dict[str, Any]:
    start = _chosen(form, "start_model", Model.objects.all())
    adapters = [
        {"value": value, "label": label, "words": _adapter_words(start, value) if start else ""}
        for value, label in adapters_of(form.run_kind)
    ]
    methods = [
        {
            "value": kind,
            "label": gettext(Run.Kind(kind).label),
            "words": gettext(METHODS[kind][0]),
            "needs": gettext(METHODS[kind][1]),
        }
        for kind in KINDS
    ]
    return {"project": project, "form": form, "methods": methods, "adapters": adapters} | _preflight(project, form)


def _preflight(project: Project, form: RunForm) -> dict[str, Any]:
    """The estimates for the form as it stands, whether or not it may be queued."""
    start = _chosen(form, "start_model", Model.objects.all())
    snapshot = _chosen(form, "snapshot", Snapshot.objects.filter(project=project))
    reward = (
        _chosen(form, "reward_model", Model.objects.filter(project=project)) if "reward_model" in form.fields else None
    )
    config = form.config if form.is_bound and form.is_valid() else form.draft()
    missing = [
        words
        for name, words in (
            ("start_model", gettext("Register a model first: manage.py register_model")),
            ("reward_model", gettext("Train a reward model first")),
            ("snapshot", gettext("Cut a snapshot of the right type first")),
        )
        if name in form.fields and not form.fields[name].queryset.exists()  # type: ignore[attr-defined]
    ]
    problems = []
    if form.is_bound:
        for name, errors in form.errors.items():
            label = form.fields[name].label if name in form.fields else ""
            problems += [{"href": f"#id_{name}" if label else "", "label": label, "text": text} for text in errors]
    return {
        "project": project,
        "form": form,
        "estimate": estimate(project, config, start, reward, snapshot),
        "problems": problems,
        "missing": missing,
        "start": start,
        "goes_on": form.goes_on,
        "kind_label": gettext(Run.Kind(form.run_kind).label),
        "kind_words": gettext("reward model")
        if form.run_kind == Run.Kind.REWARD
        else gettext(Run.Kind(form.run_kind).label),
    }


def _chosen(form: RunForm, name: str, rows: Any) -> Any:
    """The row that a choice names now, if it names one."""
    value = form[name].value()
    key = value.pk if hasattr(value, "pk") else str(value or "")
    return rows.filter(pk=key).first() if str(key).isdecimal() else None


def _adapter_words(start: Model, method: str) -> str:
    whole = trained_numbers(start, None)
    if method == "full":
        return _share_words(whole, whole, gettext("all weights"))
    return _share_words(trained_numbers(start, {"method": method}), whole, gettext(SHAPES[method]))


def _share_words(trained: int, whole: int, words: str) -> str:
    if not whole or not trained:
        return words
    said = {"words": words, "count": _count(trained), "percent": f"{100 * trained / whole:.3g}%"}
    return gettext("%(words)s: %(count)s numbers, %(percent)s") % said


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"
