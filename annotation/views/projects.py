"""Projects: the list, a new one, its dashboard and its settings."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import (
    access,
    conflicts,
    cost,
    dashboard,
    forms,
    question_form,
    rule_changes,
    sample,
    screen,
    shell,
    sizes,
    standings,
    statistics,
)
from annotation import projects as rules
from annotation.exporting import FORMATS
from annotation.models import Kind, Project, Role
from annotation.models.people import JUDGES, MANAGES, READS_DATA, SEES_NAMES
from annotation.quality import reports
from annotation.questions import ASKED, QuestionsError, check_questions, question_line, questions_of
from annotation.shell import PersonRequest, signed_in
from annotation.templates import TEMPLATES

# The one page that may stand in a frame, and only in one of ours.
PREVIEW_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'self'"
FIELDS = tuple(forms.QueueForm.base_fields)
KINDS = (
    (
        Kind.PREFERENCE,
        gettext_noop("Compare two"),
        gettext_noop("Which response is better, and by how much? Trains reward models and DPO."),
    ),
    (Kind.RANKING, gettext_noop("Rank several"), gettext_noop("Put two to eight responses in order; ties are fine.")),
    (Kind.RATING, gettext_noop("Rate one"), gettext_noop("One response, several aspects, a scale each.")),
    (
        Kind.DEMONSTRATION,
        gettext_noop("Write the answer"),
        gettext_noop("The ideal response, from nothing or from a draft. Trains SFT."),
    ),
)


@require_GET
@signed_in
def home(request: PersonRequest) -> HttpResponse:
    """All projects this person can see."""
    user = request.user
    found = list(Project.objects.visible_to(user).filter(is_archived=False))
    roles = dict(user.memberships.values_list("project", "role"))
    counted = sizes.of_each(found)
    rows = []
    for project in found:
        role = Role.MANAGER if user.is_superuser else Role(roles[project.pk])
        size = counted.get(project.pk, sizes.Size())
        rows.append(
            {
                "project": project,
                "role": gettext("Admin") if user.is_superuser else gettext(role.label),
                "judges": role in JUDGES,
                "href": shell.first_page(project, role),
                "tasks": size.tasks,
                "share": size.share,
                "counted": size.counted,
            }
        )
    return render(request, "annotation/home.html", {"rows": rows, "may_create": rules.may_create(user)})


@require_http_methods(["GET", "POST"])
@signed_in
def new_project(request: PersonRequest) -> HttpResponse:
    """A new project; whoever makes it manages it."""
    if not rules.may_create(request.user):
        raise PermissionDenied(gettext("Only admins and managers make projects."))
    form = forms.ProjectForm(request.POST or None, initial={"start": Kind.PREFERENCE})
    if request.method == "POST" and form.is_valid():
        try:
            project = rules.create(by=request.user, **form.settings())
        except rules.ProjectError as error:
            for field, sentence in error.errors.items():
                form.add_error(field if field in form.fields else None, sentence)
        else:
            messages.success(
                request, gettext("%(name)s is ready. Import what people shall judge.") % {"name": project.name}
            )
            return redirect("annotation:import", project.slug)
    kinds = [(kind, gettext(label), gettext(text)) for kind, label, text in KINDS]
    context = {"form": form, "kinds": kinds, "templates": TEMPLATES.values()}
    return render(request, "annotation/new_project.html", context, status=422 if request.method == "POST" else 200)


@require_GET
@signed_in
def project(request: PersonRequest, slug: str) -> HttpResponse:
    """The dashboard "Labeling": progress, verdicts, agreement, who judged, exports."""
    found = access.project_for(request.user, slug, READS_DATA)
    role = found.my_role
    asked = {name: request.GET.get(name, "") for name in ("question", "period")}
    context = dashboard.of(found, names=role in SEES_NAMES, **asked)
    context["paused"] = standings.paused(found) if role in MANAGES else []
    context |= {"project": found, "judges": role in JUDGES, "manages": role in MANAGES, "formats": FORMATS}
    context["applying"] = rule_changes.progress(found)
    return render(request, "annotation/project.html", context)


@require_POST
@signed_in
def refresh_quality(request: PersonRequest, slug: str) -> HttpResponse:
    """Work the figures out again: at once in a tiny project, else by the worker."""
    found = access.project_for(request.user, slug, READS_DATA)
    if reports.refresh(found).queued_at is not None:
        messages.info(
            request, gettext("The worker is on it; this page shows the new figures as soon as they are there.")
        )
    else:
        messages.success(request, gettext("The figures are as of now."))
    return redirect("annotation:project", slug)


@require_http_methods(["GET", "POST"])
@signed_in
def settings(request: PersonRequest, slug: str) -> HttpResponse:
    """Name, question, queue rules and what is asked; a POST saves all of it."""
    found = access.project_for(request.user, slug, MANAGES)
    if request.method == "GET":
        return _settings_page(request, found)
    form = forms.QueueForm(request.POST)
    sent = question_form.read(found.kind, request.POST)
    try:
        questions = check_questions(found.kind, sent)
    except QuestionsError as error:
        return _settings_page(request, found, form=form, questions=sent, errors=question_form.told(error), status=422)
    if not form.is_valid():
        return _settings_page(request, found, form=form, questions=sent, status=422)
    if (conflict := _overtaken(request, found, form.rules() | {"questions": questions})) is not None:
        return conflict
    try:
        rules.change(found, by=request.user, questions=questions, **form.rules())
    except rules.ProjectError as error:
        for field, sentence in error.errors.items():
            form.add_error(field if field in form.fields else None, sentence)
        return _settings_page(request, found, form=form, questions=sent, status=422)
    messages.success(request, gettext("Saved. Annotators see it from their next item on."))
    return redirect("annotation:settings", slug)


@require_GET
@signed_in
def applying_rules(request: PersonRequest, slug: str) -> HttpResponse:
    """How far new rules are on their way to the items; the last answer says that they are there."""
    found = access.project_for(request.user, slug, READS_DATA)
    context = {"project": found, "applying": rule_changes.progress(found), "was_applying": True}
    return render(request, "annotation/_applying.html", context)


@require_http_methods(["GET", "POST"])
@xframe_options_sameorigin
@signed_in
def preview_questions(request: PersonRequest, slug: str) -> HttpResponse:
    """The judging page as the settings form would make it, with a made-up task; nothing is stored."""
    found = access.project_for(request.user, slug, MANAGES)
    notes: list[str] = []
    questions = questions_of(found)
    if request.method == "POST":
        try:
            questions |= check_questions(found.kind, question_form.read(found.kind, request.POST))
        except QuestionsError as error:
            notes = question_form.told(error)
        found.question = str(request.POST.get("question", ""))[:200]
    context = {
        "project": found,
        "item": screen.item(sample.leased_task(found.kind, questions)),
        "counts": {"done": 12, "total": 40, "number": 13, "share": 0.3, "label": gettext("Preview")},
        "heading": question_line(found),
        "guideline": found.guideline,
        "keys": [],
        "leave": "",
        "errors": dict(enumerate(notes)),
        "saved": question_form.consequence(found.kind, questions),
        "trial": True,
    }
    response = render(request, "annotation/work.html", context)
    response.headers["Content-Security-Policy"] = PREVIEW_POLICY
    return response


@require_POST
@signed_in
def cost_of_rules(request: PersonRequest, slug: str) -> HttpResponse:
    """What the queue rules in the form would cost; a field that cannot be read counts as it is stored."""
    found = access.project_for(request.user, slug, MANAGES)
    form = forms.QueueForm(request.POST)
    form.is_valid()
    asked = {name: form.cleaned_data[name] for name in cost.RULES if form.cleaned_data.get(name) is not None}
    context = {"project": found, "cost": cost.of(found, **asked), "before": cost.of(found)}
    return render(request, "annotation/_cost.html", context)


@require_POST
@signed_in
def write_guidelines(request: PersonRequest, slug: str) -> HttpResponse:
    """A new version of the guidelines, shown from now on."""
    found = access.project_for(request.user, slug, MANAGES)
    form = forms.GuidelinesForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, found, guidelines=form, status=422)
    now, seen = found.guideline, request.POST.get("seen")
    said = bool(now and now.text == form.cleaned_data["text"])
    if now and not said and seen is not None and seen != str(now.number):
        sentence = gettext("Version %(number)s was written meanwhile. Compare, then show yours as the next one.")
        form.add_error("text", sentence % {"number": now.number})
        return _settings_page(request, found, guidelines=form, status=409)
    if now and said:
        messages.info(request, gettext("Nothing changed, so version %(number)s stays.") % {"number": now.number})
    else:
        version = found.write_guidelines(form.cleaned_data["text"], by=request.user)
        messages.success(
            request,
            gettext("Version %(number)s of the guidelines is what annotators see now.") % {"number": version.number},
        )
    return redirect("annotation:settings", slug)


def _overtaken(request: PersonRequest, found: Project, mine: conflicts.Values) -> HttpResponse | None:
    """The form with both people's changes, when somebody saved others while it was open; else None."""
    seen, now = conflicts.seen_in(str(request.POST.get("seen", ""))), conflicts.values_of(found, FIELDS)
    if seen is None or seen == now:
        return None
    both, changed = conflicts.merged(mine, seen, now)
    if both == now:  # as by a double click: what I want is what is there
        return None
    form = forms.QueueForm(initial=both | {"gold_feedback": int(both.get("gold_feedback", 0))})
    told = conflicts.in_words(changed, form, now)
    return _settings_page(request, found, form=form, questions=both["questions"], changed=told, status=409)


def _settings_page(request: PersonRequest, found: Project, *, status: int = 200, **context: Any) -> HttpResponse:
    questions = context.pop("questions", None) or questions_of(found)
    counted = _counted(found)
    versions = [
        (version, counted["guidelines"].get(str(version.pk), 0))
        for version in found.guideline_versions.order_by("-number")
    ]
    initial = {name: getattr(found, name) for name in FIELDS} | {"gold_feedback": int(found.gold_feedback)}
    form = context.setdefault("form", forms.QueueForm(initial=initial))
    form.fields["question"].widget.attrs["placeholder"] = gettext(ASKED[Kind(found.kind)])
    now = found.guideline
    context.setdefault("guidelines", forms.GuidelinesForm(initial={"text": now.text if now else ""}))
    number = versions[0][0].number + 1 if versions else 1
    context |= {
        "project": found,
        "versions": versions,
        "guideline": now,
        "next_version": number,
        "seen": json.dumps(conflicts.values_of(found, FIELDS)),
        "open": counted["open"],
        "applying": rule_changes.progress(found),
    }
    context |= {"gold": counted["gold"], "qualification": counted["qualification"]}
    context["cost"] = context["before"] = cost.of(found)
    context |= question_form.rows(found.kind, questions)
    return render(request, "annotation/settings.html", context, status=status)


def _counted(found: Project) -> dict[str, Any]:
    """Judgements by guidelines, and open items and those that check people; a large project's are of its report."""
    if reports.is_small(found):
        return statistics.inventory(found)
    nothing: dict[str, Any] = {"guidelines": {}, "gold": 0, "qualification": 0, "open": None}
    return nothing | reports.of(found).data.get("inventory", {})
