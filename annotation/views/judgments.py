"""All judgements of a project in a list, so that a lead reads what nobody disagreed on too."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from annotation import access, listing, review_forms, wording
from annotation.models import Annotation, GoldResult, Project, Response
from annotation.models.people import SEES_NAMES
from annotation.questions import questions_of
from annotation.shell import PersonRequest, signed_in

PER_PAGE = 50


@require_GET
@signed_in
def judgments(request: PersonRequest, slug: str) -> HttpResponse:
    """What people judged, the latest first, narrowed by what the form asks; an id leads to its item."""
    project = access.project_for(request.user, slug, SEES_NAMES)
    form = review_forms.JudgmentForm(project, request.GET)
    filters = form.filters()
    if id := filters.pop("id", None):
        if task := project.tasks.filter(external_id=id).first():
            return redirect("annotation:adjudicate", task.pk)
        form.add_error("id", gettext("No item here has this id."))
    rows, more = listing.found(project, filters)
    page = list(listing.after(rows, filters, _place(project, request.GET.get("after", "")))[: PER_PAGE + 1])
    kept = _kept(request.GET)
    context = {
        "project": project,
        "form": form,
        "rows": _rows(project, page[:PER_PAGE], kept),
        "following": urlencode(kept | {"after": page[PER_PAGE - 1].pk}) if len(page) > PER_PAGE else "",
        "narrowed": bool(filters),
        "looked_at": listing.LOOKED_AT if more else 0,
        "of": filters.get("annotator"),
    }
    return render(request, "annotation/judgments.html", context, status=200 if form.is_valid() else 422)


@require_GET
@signed_in
def next_judgment(request: PersonRequest, slug: str) -> HttpResponse:
    """On to the item of the judgement that comes after one in the list, or back to the list at its end."""
    project = access.project_for(request.user, slug, SEES_NAMES)
    filters, kept = review_forms.JudgmentForm(project, request.GET).filters(), _kept(request.GET)
    filters.pop("id", None)
    place = _place(project, request.GET.get("after", ""))
    if place is not None:
        rows = listing.after(listing.found(project, filters)[0], filters, place).exclude(task=place.task_id)
        if following := rows.first():
            return redirect(f"{reverse('annotation:adjudicate', args=[following.task_id])}?{_query(kept, following)}")
    messages.success(request, gettext("That was the last one of the list."))
    return redirect(f"{reverse('annotation:judgments', args=[slug])}?{urlencode(kept)}")


def _kept(asked: QueryDict) -> dict[str, str]:
    """What the list is narrowed by, without the place in it."""
    return {name: str(value) for name, value in asked.items() if name != "after" and value}


def _query(kept: dict[str, str], judged: Annotation) -> str:
    """What an item's page is told of the list that led there."""
    return urlencode({"list": urlencode(kept | {"after": judged.pk})})


def _rows(project: Project, page: list[Annotation], kept: dict[str, str]) -> list[dict[str, Any]]:
    """Each judgement with its item and its words, A and B as the item's page has them."""
    shown = _with_items(Annotation.objects.filter(pk__in=[one.pk for one in page]))
    orders: dict[int, list[int]] = {one.task_id: [] for one in page}
    for task, pk in Response.objects.filter(task__in=orders).order_by("pk").values_list("task", "pk"):
        orders[task].append(pk)
    results = GoldResult.objects.filter(task__in=orders).values_list("task", "annotator", "correct")
    gold = {(task, annotator): correct for task, annotator, correct in results}
    flags = {flag["name"]: flag["label"] for flag in questions_of(project)["flags"]}
    return [
        {
            "judged": shown[one.pk],
            "query": _query(kept, one),
            "words": wording.in_words(one.kind, one.body, orders[one.task_id]),
            "gold": gold.get((one.task_id, one.annotator_id)),
            "why": one.body.get("rationale", ""),
            "flags": [flags.get(name, name) for name in one.body.get("flags") or []],
        }
        for one in page
    ]


def _with_items(rows: QuerySet[Annotation]) -> dict[int, Annotation]:
    return {one.pk: one for one in rows.select_related("annotator", "task")}


def _place(project: Project, number: str) -> Annotation | None:
    """The judgement that a page ended with."""
    if not number.isdigit() or len(number) >= 19:
        return None
    return Annotation.objects.filter(project=project, pk=int(number)).first()
