"""Disagreements: the list, the page on which one is settled, and the decisions made there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.cache import cache
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from annotation import (
    access,
    bodies,
    desk,
    discussing,
    disputes,
    forms,
    review_forms,
    reviewing,
    shell,
    verdicts,
    wording,
)
from annotation.models import Adjudication, Annotation, Dispute, Kind, Project, Response, Task
from annotation.models.people import MANAGES, SEES_NAMES
from annotation.models.review import DisputeQuerySet
from annotation.questions import questions_of
from annotation.shell import PersonRequest, signed_in

PER_PAGE = 50
COUNT_SECONDS = 30
LONGEST_LIST = 1000  # characters that say which list is gone through


@require_GET
@signed_in
def review(request: PersonRequest, slug: str) -> HttpResponse:
    """The disagreements of a project, worst first, narrowed by what the form asks."""
    project = access.project_for(request.user, slug, SEES_NAMES)
    more = disputes.refresh(project)
    form = review_forms.DisputeForm(project, request.GET)
    filters = form.filters()
    found = disputes.narrowed(Dispute.objects.filter(project=project), filters)
    page = list(_after(found.worst_first(), request.GET.get("after", ""))[: PER_PAGE + 1])
    rows = _rows(project, page[:PER_PAGE])
    kept = {name: value for name, value in request.GET.items() if name != "after" and value}
    context = {
        "project": project,
        "form": form,
        "state": filters["state"],
        "states": [
            (value, gettext(label), urlencode(kept | {"state": value})) for value, label in Dispute.State.choices
        ],
        "rows": rows,
        "unit": gettext(verdicts.UNITS[Kind(project.kind)]),
        "following": urlencode(kept | {"after": _place(page[PER_PAGE - 1])}) if len(page) > PER_PAGE else "",
        "narrowed": form.is_narrowed(),
        "behind": more,
        "manages": project.my_role in MANAGES,
    }
    return render(request, "annotation/review.html", context, status=200 if form.is_valid() else 422)


@require_GET
@signed_in
def next_dispute(request: PersonRequest, slug: str) -> HttpResponse:
    """On to the worst disagreement that this reviewer may settle, past the one put off."""
    project = access.project_for(request.user, slug, SEES_NAMES)
    disputes.refresh(project)
    found = Dispute.objects.filter(project=project).open().decidable_by(request.user, project).worst_first()
    first = _after(found, request.GET.get("after", "")).first() or found.first()
    if first is None:
        messages.success(request, gettext("Nothing is left to settle here."))
        return redirect("annotation:review", slug)
    return redirect("annotation:adjudicate", first.task_id)


@require_GET
@signed_in
def adjudicate(request: PersonRequest, task_id: int) -> HttpResponse:
    """One task with everybody's verdicts, to be settled."""
    task = access.task_for(request.user, task_id, SEES_NAMES)
    disputes.refresh(task.project)
    return _page(request, task)


@require_POST
@signed_in
def decide(request: PersonRequest, task_id: int) -> HttpResponse:
    """Accept, overrule or send back; then on to the next disagreement."""
    task = access.task_for(request.user, task_id, SEES_NAMES)
    decision, _, number = str(request.POST.get("decision", "")).partition(":")
    named = get_object_or_404(task.annotations, pk=int(number)) if number.isdigit() and len(number) < 19 else None
    asked: dict[str, Any] = {"comment": str(request.POST.get("comment", ""))}
    asked["looked_at"] = str(request.POST.get("seen", "")) or None
    settled = asked | {"gold": "gold" in request.POST}
    try:
        if decision == "accept":
            made = reviewing.accept(task, request.user, annotation=named, **settled)
        elif decision == "return" and named is not None:
            named.task = task
            made = reviewing.send_back(named, request.user, **asked)
        else:
            made = reviewing.overrule(task, request.user, forms.body_of(task.project, request.POST), **settled)
    except bodies.BodyError as error:
        return _page(request, task, errors=error.errors)
    except reviewing.CannotDecide as error:
        return _page(request, task, errors={"decision": str(error)}, status=409)
    text = gettext("Saved: %(decision)s")
    if made.makes_gold:
        text = gettext("Saved: %(decision)s and made a gold item")
    messages.success(request, text % {"decision": gettext(made.get_decision_display()).lower()})
    return redirect(_following(task.project, _list_of(request)))


@require_POST
@signed_in
def withdraw(request: PersonRequest, adjudication_id: int) -> HttpResponse:
    """Take one's last decision back and look at the task again."""
    mine = Adjudication.objects.visible_to(request.user).select_related("task__project", "annotation__task")
    adjudication = get_object_or_404(mine, pk=adjudication_id, reviewer=request.user)
    try:
        reviewing.withdraw(adjudication, request.user)
    except reviewing.CannotDecide as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, gettext("Taken back"))
    return redirect("annotation:adjudicate", adjudication.task_id)


@require_POST
@signed_in
def four_eyes(request: PersonRequest, slug: str) -> HttpResponse:
    """Switch the four-eyes rule of a project."""
    project = access.project_for(request.user, slug, MANAGES)
    on = "four_eyes" in request.POST
    Project.objects.filter(pk=project.pk).update(four_eyes=on)
    messages.success(
        request,
        gettext("Reviewers never decide on what they judged themselves, from now on.")
        if on
        else gettext("Reviewers may decide on what they judged themselves, from now on."),
    )
    return redirect("annotation:review", slug)


def waiting(project: Project) -> str:
    """How many disagreements are open, for the side bar."""
    key = f"disputes:{project.pk}"
    if (known := cache.get(key)) is None:
        found = disputes.open_in(project)
        known = str(found) if found.number else ""
        cache.set(key, known, COUNT_SECONDS)
    return str(known)


shell.count("annotation:review", waiting)


def _page(
    request: PersonRequest, task: Task, *, errors: dict[str, str] | None = None, status: int = 422
) -> HttpResponse:
    project, user = task.project, request.user
    shown = desk.of(task, user)
    cache.delete(f"disputes:{project.pk}")
    own = Adjudication.objects.filter(project=project, reviewer=user)
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    done = own.filter(created_at__gte=midnight).exclude(decision=Adjudication.Decision.WITHDRAW).count()
    left = disputes.open_in(project)
    both = left.beside(done)
    last = own.order_by("-pk").first()
    dispute = Dispute.objects.filter(task=task).first()
    along = _list_of(request)
    later = _following(project, along)
    context = {
        "project": project,
        "task": task,
        "desk": shown,
        "item": shown.item,
        "questions": questions_of(project),
        "errors": errors,
        "comment": request.POST.get("comment", ""),
        "gold": "gold" in request.POST,
        "done": done,
        "left": left,
        "both": both,
        "share": done / both.number if both.number else 0.0,
        "last": last if last and last.decision != Adjudication.Decision.WITHDRAW else None,
        "guideline": project.guideline,
        "lines": discussing.lines(task, user),
        "later": f"{later}?after={_place(dispute)}" if dispute and not along else later,
        "list": along,
        "back": "&".join(part for part in along.split("&") if not part.startswith("after=")),
    }
    return render(request, "annotation/adjudicate.html", context, status=status if errors else 200)


def _list_of(request: PersonRequest) -> str:
    """The list of judgements that a reviewer goes through, as its page wrote it; "" for the disagreements."""
    return str(request.POST.get("list") or request.GET.get("list") or "")[:LONGEST_LIST]


def _following(project: Project, along: str) -> str:
    """Where a reviewer goes from here: on in the list that led here, or to the worst disagreement."""
    name = "annotation:next_judgment" if along else "annotation:next_dispute"
    return reverse(name, args=[project.slug]) + (f"?{along}" if along else "")


def _rows(project: Project, found: list[Dispute]) -> list[dict[str, Any]]:
    """The disputes with their tasks and what everybody said, in three statements."""
    tasks = Task.objects.in_bulk([one.task_id for one in found])
    orders: dict[int, list[int]] = {task: [] for task in tasks}
    votes: dict[int, list[Annotation]] = {task: [] for task in tasks}
    for task, pk in Response.objects.filter(task__in=tasks).order_by("pk").values_list("task", "pk"):
        orders[task].append(pk)
    for vote in Annotation.objects.standing().filter(task__in=tasks).select_related("annotator").order_by("pk"):
        votes[vote.task_id].append(vote)
    return [
        {
            "dispute": one,
            "task": tasks[one.task_id],
            "said": [
                (vote.annotator.label, wording.in_words(vote.kind, vote.body, orders[one.task_id]))
                for vote in votes[one.task_id]
            ],
        }
        for one in found
    ]


def _place(dispute: Dispute) -> str:
    return f"{dispute.spread}-{dispute.task_id}"


def _after(found: DisputeQuerySet, place: str) -> DisputeQuerySet:
    """Those that come after a place in the list."""
    spread, _, task = place.partition("-")
    if not (spread.isdigit() and task.isdigit() and len(spread) < 6 and len(task) < 19):
        return found
    return found.filter(Q(spread__lt=int(spread)) | Q(spread=int(spread), task__gt=int(task)))
