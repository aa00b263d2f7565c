"""One's own work: figures, what came back, the history, and answers that are kept or changed."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from annotation import access, agreement_chart, bodies, freezing, gold_feedback, guidelines, judging, own_work
from annotation.day_chart import columns
from annotation.models import Annotation
from annotation.models.people import JUDGES
from annotation.shell import PersonRequest, signed_in
from annotation.views import work

PER_PAGE = 50


@require_GET
@signed_in
def my_work(request: PersonRequest) -> HttpResponse:
    """Pace, agreement, what waits, what came back, and one's own answers, newest first."""
    user = request.user
    gold, show = gold_feedback.of(user), request.GET.get("show", "")
    choices = [
        ("", gettext("All")),
        ("open", gettext("Can be changed")),
        *([("gold", gettext("Gold"))] if gold else []),
    ]
    show = show if show in dict(choices) else ""
    page = Paginator(own_work.history(user, show), PER_PAGE).get_page(request.GET.get("page"))
    waiting, pace, agreement = own_work.waiting(user), own_work.pace(user), own_work.agreement(user)
    context = {
        "today": timezone.now(),
        "page": page,
        "answers": own_work.answers(own_work.rows(list(page)), user),
        "returned": own_work.returned(user),
        "pace": pace,
        "days": columns(pace["per_day"]),
        "goal": own_work.goal([row["project"] for row in waiting], user),
        "agreement": agreement,
        "weeks": agreement_chart.of(agreement["weeks"], "alike", beside=agreement["beside"]) if agreement else None,
        "gold": gold,
        "choices": [(value or None, words, value == show) for value, words in choices],
        "qualifications": own_work.qualifications(user),
        "waiting": waiting,
        "waiting_in": sum(bool(row["left"]) for row in waiting),
    }
    return render(request, "annotation/my_work.html", context)


@require_GET
@signed_in
def change(request: PersonRequest, annotation_id: int) -> HttpResponse:
    """The judging page with an answer of one's own, to be given anew."""
    annotation = _mine(request, annotation_id, Annotation.Status.SUBMITTED)
    try:
        freezing.check(annotation)
    except freezing.Frozen as error:
        messages.warning(request, str(error))
        return redirect("annotation:my_work")
    return work.change_page(request, annotation)


@require_POST
@signed_in
def keep(request: PersonRequest, annotation_id: int) -> HttpResponse:
    """Stand by an answer that a reviewer sent back: the same once more, as a revision of its own."""
    annotation = _mine(request, annotation_id, Annotation.Status.RETURNED)
    body = bodies.as_shown(annotation.kind, annotation.body, annotation.shown)
    try:
        judging.submit(annotation.task, request.user, body, key=f"keep-{annotation.pk}")
    except judging.LeaseLost:
        messages.warning(request, gettext("The time of that item ran out and somebody else judges it now."))
    except bodies.BodyError:
        messages.warning(
            request, gettext("The project asks something else by now, so open the item and answer it anew.")
        )
    else:
        messages.success(request, gettext("Your answer stands as it was."))
    return redirect("annotation:my_work")


@require_POST
@signed_in
def read_guidelines(request: PersonRequest, slug: str) -> HttpResponse:
    """Note that one has read a version of the guidelines, and go on judging."""
    project = access.project_for(request.user, slug)
    number = str(request.POST.get("number", ""))
    if number.isdigit() and len(number) < 9:
        guidelines.acknowledge(project, request.user, int(number))
    return redirect("annotation:work", slug)


def _mine(request: PersonRequest, annotation_id: int, status: str) -> Annotation:
    """An annotation of one's own in a project one still judges in."""
    rows = Annotation.objects.select_related("task__project").filter(annotator=request.user, status=status)
    annotation = get_object_or_404(rows, pk=annotation_id)
    annotation.task.project = access.project_for(request.user, annotation.task.project.slug, JUDGES)
    return annotation
