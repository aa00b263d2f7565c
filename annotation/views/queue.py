"""The queue as a lead sees it: who has which items waiting, and what people skipped."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from annotation import access, assigning, requeueing
from annotation.assigning import AssignError
from annotation.forms import PageForm
from annotation.models import Assignment, Pool, Project, Task, User
from annotation.models.people import JUDGES, MANAGES, SEES_NAMES
from annotation.shell import PersonRequest, signed_in

SHOWN = 50  # skipped items on the page


class AssignForm(PageForm):
    """Which open items go to whom."""

    to = forms.MultipleChoiceField(label=_("People"), help_text=_("Several: hold Ctrl"))
    ids = forms.CharField(
        required=False,
        label=_("Ids"),
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("One a line; empty for any"),
    )
    field = forms.CharField(required=False, max_length=80, label=_("Metadata field"))
    value = forms.CharField(required=False, max_length=200, label=_("Has the value"))
    limit = forms.IntegerField(required=False, min_value=1, max_value=1_000_000, label=_("At most"))
    each = forms.BooleanField(required=False, label=_("Every item to everybody named, not dealt out"))

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        judging = project.memberships.filter(role__in=JUDGES, user__is_active=True).select_related("user")
        self.fields["to"].choices = [(one.user.username, one.user.label) for one in judging.order_by("user__username")]  # type: ignore[attr-defined]

    def asked(self) -> dict[str, Any]:
        """What `assigning.chosen` takes."""
        sent = self.cleaned_data
        ids = [line.strip() for line in sent["ids"].splitlines() if line.strip()]
        metadata = {sent["field"]: assigning.as_typed(sent["value"])} if sent["field"] else None
        return {"ids": ids or None, "metadata": metadata}


@require_http_methods(["GET", "POST"])
@signed_in
def queue(request: PersonRequest, slug: str) -> HttpResponse:
    """Items waiting for named people and items people skipped; a POST assigns more."""
    project = access.project_for(request.user, slug, MANAGES if request.method == "POST" else SEES_NAMES)
    if request.method == "GET":
        return _page(request, project, AssignForm(project))
    form = AssignForm(project, request.POST)
    if not form.is_valid():
        return _page(request, project, form, status=422)
    try:
        people = assigning.people_named(project, form.cleaned_data["to"])
    except AssignError as error:
        form.add_error("to", error.errors["to"])
        return _page(request, project, form, status=422)
    asked = form.asked()
    missed = assigning.not_open(project, asked["ids"])
    rows = assigning.chosen(project, **asked)
    report = assigning.assign(project, rows, people, each=form.cleaned_data["each"], limit=form.cleaned_data["limit"])
    told = [
        ngettext("%(count)s item assigned", "%(count)s items assigned", report.assigned) % {"count": report.assigned}
    ]
    if report.full:
        told.append(gettext("%(full)s had no free place") % {"full": report.full})
    if report.had_before:
        told.append(gettext("%(had_before)s were theirs before") % {"had_before": report.had_before})
    if missed:
        first = ", ".join(missed[:3]) + ("…" if len(missed) > 3 else "")
        text = ngettext(
            "%(count)s id is no open item here: %(first)s",
            "%(count)s ids are no open items here: %(first)s",
            len(missed),
        )
        told.append(text % {"count": len(missed), "first": first})
    messages.success(request, ", ".join(told) + ".")
    return redirect("annotation:queue", slug)


@require_POST
@signed_in
def release(request: PersonRequest, slug: str, user_id: int) -> HttpResponse:
    """Open to everybody what waits for one person."""
    project = access.project_for(request.user, slug, MANAGES)
    person = get_object_or_404(User, pk=user_id, assignments__project=project, assignments__state="assigned")
    count = assigning.release(project, person)
    messages.success(
        request,
        gettext("%(count)s items that waited for %(label)s are open to everybody.")
        % {"count": count, "label": person.label},
    )
    return redirect("annotation:queue", slug)


@require_POST
@signed_in
def settle_skipped(request: PersonRequest, slug: str) -> HttpResponse:
    """Judge a skipped item oneself, put several back into the queue, or drop them."""
    project = access.project_for(request.user, slug, SEES_NAMES)
    if (chosen := request.POST.get("judge", "")).isdigit() and len(chosen) < 19:
        return _judge_skipped(request, get_object_or_404(project.tasks, pk=int(chosen)))
    ids = [int(one) for one in request.POST.getlist("task") if one.isdigit() and len(one) < 19]
    if request.POST.get("action") == "drop":
        count = requeueing.drop(ids, project)
        text = ngettext("%(count)s item is dropped.", "%(count)s items are dropped.", count)
    else:
        count = requeueing.put_back(ids, project)
        text = ngettext("%(count)s item is back in the queue.", "%(count)s items are back in the queue.", count)
    messages.success(request, text % {"count": count})
    return redirect("annotation:queue", slug)


def _judge_skipped(request: PersonRequest, task: Task) -> HttpResponse:
    slug = task.project.slug
    try:
        requeueing.take(task, request.user)
    except requeueing.NotWaiting as error:
        messages.warning(request, str(error))
        return redirect("annotation:queue", slug)
    return redirect("annotation:work", slug)


def _page(request: PersonRequest, project: Project, form: AssignForm, *, status: int = 200) -> HttpResponse:
    apart = project.tasks.skipped_out()
    skipped = list(apart.order_by("pool", "-pk")[:SHOWN])
    reasons: dict[int, list[str]] = {task.pk: [] for task in skipped}
    given = Assignment.objects.filter(task__in=reasons, state=Assignment.State.SKIPPED).exclude(skip_reason="")
    for task_id, reason in given.order_by("pk").values_list("task", "skip_reason"):
        reasons[task_id].append(reason)
    context = {
        "project": project,
        "form": form,
        "waiting": assigning.waiting(project),
        "skipped": [(task, ", ".join(dict.fromkeys(reasons[task.pk]))) for task in skipped],
        "skipped_count": apart.count(),
        "manages": project.my_role in MANAGES,
        "review": Pool.REVIEW,
    }
    return render(request, "annotation/queue.html", context, status=status)
