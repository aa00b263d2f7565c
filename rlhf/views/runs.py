"""Runs: the list, and one run while it works and after it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.http import require_GET, require_POST

from annotation.access import project_for
from annotation.models import Project
from annotation.models.people import READS_DATA, TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import runs as run_rows
from rlhf.models import Run
from rlhf.run_form import KINDS
from rlhf.views.polling import unless_unchanged, version_of
from rlhf.views.run_page import RunPage, log_lines, status_of

FILES = {
    "run.json": "application/json",
    "status.json": "application/json",
    "report.json": "application/json",
    "metrics.jsonl": "application/x-ndjson",
    "samples.jsonl": "application/x-ndjson",
    "generations.jsonl": "application/x-ndjson",
    "log.txt": "text/plain; charset=utf-8",
}
STATES = {
    "live": (gettext_noop("Live"), [Run.State.QUEUED, Run.State.STARTING, Run.State.RUNNING, Run.State.STOPPING]),
    "succeeded": (gettext_noop("Succeeded"), [Run.State.SUCCEEDED]),
    "stopped": (gettext_noop("Failed or stopped"), [Run.State.FAILED, Run.State.CANCELLED, Run.State.LOST]),
}
PAGE = 50


@require_GET
@signed_in
def runs(request: PersonRequest, slug: str) -> HttpResponse:
    """The runs of a project, newest first, by kind and state."""
    project = project_for(request.user, slug, READS_DATA)
    kind, state = request.GET.get("kind", ""), request.GET.get("state", "")
    rows = Run.objects.filter(project=project).select_related("start_model", "snapshot", "round")
    if kind in Run.Kind.values:
        rows = rows.filter(kind=kind)
    if state in STATES:
        rows = rows.filter(state__in=STATES[state][1])
    count = rows.count()
    shown = [_with_status(run) for run in rows[:PAGE]]
    context: dict[str, Any] = {
        "project": project,
        "rows": shown,
        "count": count,
        "kind_choices": _choices(request, "kind", [("", gettext("All")), *_kinds_of(project)], kind),
        "state_choices": _choices(
            request,
            "state",
            [("", gettext("Any state")), *[(key, gettext(words)) for key, (words, _) in STATES.items()]],
            state,
        ),
        "filtered": bool(kind or state),
        "may_train": _trains(project),
    }
    facts = [[run.pk, run.state, run.shown_step, run.total] for run in shown]  # type: ignore[attr-defined]
    context["version"] = version_of(facts, count, kind, state)
    context["live"] = any(not run.is_ended for run in shown)
    if request.headers.get("HX-Target") == "runs":
        answer = lambda: render(request, "rlhf/_runs.html", context)  # noqa: E731
        return unless_unchanged(request, context["version"], answer)
    return render(request, "rlhf/runs.html", context)


@require_GET
@signed_in
def run(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """One run: how far it is, what it measures, what came out, what it was made from."""
    row = _find(request, slug, pk)
    page = RunPage(row, tables=request.GET.getlist("table"))
    context = page.context()
    context["can_cancel"] = context["may_train"] and not row.is_ended and row.state != Run.State.STOPPING
    resumable = (Run.State.CANCELLED, Run.State.FAILED, Run.State.LOST)
    context["can_resume"] = context["may_train"] and row.state in resumable
    copyable = row.kind in KINDS
    context["copy_url"] = copy_url(row) if context["may_train"] and copyable else ""
    return render(request, "rlhf/run.html", context)


@require_GET
@signed_in
def run_live(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Progress, concerns and charts of a live run; a page whose run changed its state is asked to load again."""
    row = _find(request, slug, pk)
    if request.GET.get("state", row.state) != row.state:
        response = HttpResponse()
        response["HX-Refresh"] = "true"
        return response
    page = RunPage(row, tables=request.GET.getlist("table"), seen=request.GET)
    return unless_unchanged(request, page.version, lambda: render(request, "rlhf/_run_live.html", page.context()))


@require_GET
@signed_in
def run_log(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """The log lines after the first `after`, and the place where the next ones will go; 204 while there are none."""
    row = _find(request, slug, pk)
    after = request.GET.get("after", "0")
    if not after.isdecimal():
        raise Http404
    lines = log_lines(row.folder, int(after))
    if not lines and not row.is_ended:
        return HttpResponse(status=204)
    context = {"run": row, "project": row.project, "lines": lines, "next_line": int(after) + len(lines)}
    return render(request, "rlhf/_log_lines.html", context)


@require_GET
@signed_in
def run_file(request: PersonRequest, slug: str, pk: int, name: str) -> HttpResponse | FileResponse:
    """One file of the run directory, as the engine wrote it."""
    path: Path = _find(request, slug, pk).folder / name
    if name not in FILES or not path.is_file():
        raise Http404
    return FileResponse(path.open("rb"), content_type=FILES[name], as_attachment=name != "run.json", filename=name)


@require_POST
@signed_in
def cancel_run(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Ask the run to stop after its step."""
    row = _find(request, slug, pk, TRAINS)
    try:
        run_rows.cancel(row)
    except run_rows.CannotCancel as error:
        messages.warning(request, str(error))
    return redirect(row)


@require_POST
@signed_in
def resume_run(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """Queue the run again; it goes on from its last checkpoint."""
    row = _find(request, slug, pk, TRAINS)
    try:
        run_rows.resume(row)
    except run_rows.CannotResume as error:
        messages.warning(request, str(error))
    return redirect(row)


def copy_url(row: Run, settings: dict[str, Any] | None = None) -> str:
    """The new-run page, filled in like `row` but for `settings`."""
    changed = [("set", f"{key}={value}") for key, value in (settings or {}).items()]
    return reverse("rlhf:new_run", args=[row.project.slug]) + "?" + urlencode([("copy", row.pk), *changed])


def _find(request: PersonRequest, slug: str, pk: int, roles: tuple[str, ...] = READS_DATA) -> Run:
    project = project_for(request.user, slug, roles)
    rows = Run.objects.filter(project=project).select_related(
        "start_model", "reward_model", "snapshot", "round", "created_by"
    )
    row = get_object_or_404(rows, pk=pk)
    row.project = project  # knows this person's role
    return row


def _trains(project: Project) -> bool:
    return project.my_role in TRAINS


def _with_status(row: Run) -> Run:
    """The row with what only its directory knows while it works: phase, step and time left."""
    status = {} if row.is_ended else status_of(row)
    row.shown_step = status.get("step") or row.step  # type: ignore[attr-defined]
    row.total = status.get("total") or row.total
    row.eta = status.get("eta_seconds")  # type: ignore[attr-defined]
    row.phase = status.get("phase") or ""  # type: ignore[attr-defined]
    row.share = row.shown_step / row.total if row.total else None  # type: ignore[attr-defined]
    return row


def _kinds_of(project: Project) -> list[tuple[str, str]]:
    present = set(Run.objects.filter(project=project).order_by().values_list("kind", flat=True).distinct())
    return [(value, gettext(label)) for value, label in Run.Kind.choices if value in present]


def _choices(request: PersonRequest, name: str, options: list[tuple[str, str]], chosen: str) -> list[dict[str, Any]]:
    """The links of one filter; the other filters stay as they are."""
    found = []
    for value, label in options:
        query = request.GET.copy()
        query.pop(name, None)
        if value:
            query[name] = value
        found.append({"label": label, "href": f"?{query.urlencode()}", "current": value == chosen})
    return found
