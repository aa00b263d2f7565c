"""Datasets: the snapshots of a project, and the form that cuts a new one."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation.access import project_for
from annotation.models import Project
from annotation.models.people import READS_DATA, SEES_NAMES, TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import cutting, snapshots
from rlhf.models import Cut, Snapshot
from rlhf.snapshot_form import SnapshotForm

REASONS = 6  # reasons spelled out in the preview


@require_GET
@signed_in
def datasets(request: PersonRequest, slug: str) -> HttpResponse:
    """The snapshots of a project by type and name, and the one that is picked in detail."""
    project = project_for(request.user, slug, READS_DATA)
    kind, words = request.GET.get("type", ""), request.GET.get("q", "").strip()
    rows = Snapshot.objects.filter(project=project).select_related("created_by").prefetch_related("runs")
    types = [value for value in Snapshot.Type.values if rows.filter(type=value).exists()]
    if kind in Snapshot.Type.values:
        rows = rows.filter(type=kind)
    if words:
        rows = rows.filter(name__icontains=words) | rows.filter(content_hash__startswith=words.lower())
    shown = list(rows[:100])
    picked = next((row for row in shown if str(row.pk) == request.GET.get("pick")), shown[0] if shown else None)
    context = {
        "project": project,
        "rows": [described(row) for row in shown],
        "picked": described(picked) if picked else None,
        "types": [
            {"value": "", "label": gettext("All")},
            *[{"value": one, "label": gettext(Snapshot.Type(one).label)} for one in types],
        ],
        "kind": kind,
        "query": words,
        "may_train": project.my_role in TRAINS,
        "sees_names": project.my_role in SEES_NAMES,
    }
    return render(request, "rlhf/datasets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new_snapshot(request: PersonRequest, slug: str) -> HttpResponse:
    """The recipe of a new snapshot, from scratch or from an earlier one; posting it freezes the snapshot."""
    project = project_for(request.user, slug, TRAINS)
    like = None
    if request.GET.get("like", "").isdecimal():
        like = get_object_or_404(Snapshot, project=project, pk=request.GET["like"])
    if request.method != "POST":
        form = SnapshotForm(project=project, like=like)
        return render(request, "rlhf/new_snapshot.html", _context(project, form))
    form = SnapshotForm(request.POST, project=project)
    if form.is_valid():
        data = form.cleaned_data
        try:
            asked: dict[str, Any] = {"name": data["name"], "type": data["type"], "recipe": form.recipe()}
            if cutting.is_large(project):
                return redirect("rlhf:cut", slug, cutting.start(project, **asked, by=request.user).pk)
            return redirect(snapshots.cut(project, **asked, by=request.user))
        except snapshots.SnapshotError as error:
            form.refuse(error)
    return render(request, "rlhf/new_snapshot.html", _context(project, form), status=422)


@require_POST
@signed_in
def preview_snapshot(request: PersonRequest, slug: str) -> HttpResponse:
    """How many rows the recipe would give, and what would be left out; nothing is stored."""
    project = project_for(request.user, slug, TRAINS)
    form = SnapshotForm(request.POST, project=project)
    context = _context(project, form)
    return render(request, "rlhf/_cut_preview.html", context, status=422 if form.errors else 200)


@require_GET
@signed_in
def cut(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """How far the worker is with a large snapshot; leads to it once it is cut."""
    project = project_for(request.user, slug, TRAINS)
    row = get_object_or_404(Cut.objects.filter(project=project).select_related("snapshot__project"), pk=pk)
    if row.snapshot is None:
        return render(request, "rlhf/cut.html", {"project": project, "cut": row})
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": row.snapshot.get_absolute_url()})
    return redirect(row.snapshot)


def described(row: Snapshot) -> dict[str, Any]:
    """A snapshot with its counts in the form that the pages show."""
    train, held = row.counts.get("train") or 0, row.counts.get("eval") or 0
    total, left_out = train + held, row.counts.get("left_out") or {}
    return {
        "row": row,
        "total": total,
        "train": train,
        "eval": held,
        "train_share": train / total if total else 0,
        "eval_share": held / total if total else 0,
        "left_out": sum(left_out.values()),
        "reasons": reason_words(left_out),
        "bars": [
            {"reason": reason, "count": count, "share": count / max(left_out.values())}
            for reason, count in sorted(left_out.items(), key=lambda pair: -pair[1])
            if count
        ],
    }


def reason_words(left_out: dict[str, int]) -> str:
    """`58 both bad, 43 unclear`: why rows were left out, the largest first."""
    ordered = sorted(((count, reason) for reason, count in left_out.items() if count), reverse=True)
    words = [f"{count:,} {reason.replace('_', ' ')}" for count, reason in ordered[:REASONS]]
    return ", ".join([*words, *([gettext("and more")] if len(ordered) > REASONS else [])])


def _context(project: Project, form: SnapshotForm) -> dict[str, Any]:
    """The form and what its recipe would give now; a recipe that is refused puts its error at the field."""
    counts: dict[str, Any] | None = None
    if not form.is_bound or form.is_valid():
        try:
            counts = cutting.preview(project, form.chosen_type, form.recipe())
        except snapshots.SnapshotError as error:
            form.refuse(error)
    left_out = (counts or {}).get("left_out") or {}
    return {
        "project": project,
        "form": form,
        "counts": counts,
        "total": ((counts or {}).get("train") or 0) + ((counts or {}).get("eval") or 0),
        "left_out": sum(left_out.values()),
        "reasons": reason_words(left_out),
        "is_counting": counts is None and not form.problems,
        "noun": gettext("pairs") if form.chosen_type == Snapshot.Type.PREFERENCE else gettext("rows"),
        "problems": form.problems,
    }
