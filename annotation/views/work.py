"""The judging page and what happens on it; each action answers a script with JSON and a plain form with a redirect."""

from __future__ import annotations

import random
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop
from django.views.decorators.http import require_GET, require_POST

from annotation import (
    access,
    bodies,
    forms,
    freezing,
    guidelines,
    judging,
    progress,
    qualifying,
    queue,
    rendering,
    screen,
    sealing,
    shortcuts,
)
from annotation.models import Annotation, Assignment, Project, User
from annotation.models.people import JUDGES
from annotation.progress import Progress
from annotation.qualifying import Feedback
from annotation.questions import question_line, questions_of
from annotation.sealing import Of
from annotation.shell import PersonRequest, signed_in


@require_GET
@signed_in
def work(request: PersonRequest, slug: str) -> HttpResponse:
    """The judging page, opened on the task this person holds, or on the next one."""
    project = access.project_for(request.user, slug, JUDGES)
    try:
        return _page(request, project, queue.lease_next(project, request.user))
    except queue.NotNow as error:
        return _page(request, project, None, blocked=str(error))


@require_POST
@signed_in
def judge(request: PersonRequest, task_id: int) -> HttpResponse:
    """Store one judgement; the reply is the next task, or the one after it when the next is on display already."""
    task = access.task_for(request.user, task_id, JUDGES)
    form = forms.JudgementForm(request.POST)
    if not form.is_valid():
        return _refused(request, task.project, task.pk, form.sentences())
    try:
        annotation = judging.submit(
            task,
            request.user,
            forms.body_of(task.project, request.POST),
            key=form.cleaned_data["key"] or None,
            seconds=form.cleaned_data["seconds"],
        )
    except queue.LeaseLost:
        return _lost(request, task.project)
    except freezing.Frozen as error:
        return _lost(request, task.project, str(error))
    except judging.KeyReused:
        text = gettext("You answered this item before, and that answer stands. Change it under My work.")
        return _lost(request, task.project, text)
    except bodies.BodyError as error:
        return _refused(request, task.project, task.pk, error.errors)
    return _onward(request, task.project, annotation, told=qualifying.feedback(task, annotation))


@require_POST
@signed_in
def skip(request: PersonRequest, task_id: int) -> HttpResponse:
    """Give the task back with a reason; the reply is the next one."""
    task = access.task_for(request.user, task_id, JUDGES)
    try:
        queue.skip(task, request.user, str(request.POST.get("reason", ""))[:200])
    except queue.LeaseLost as error:
        return _lost(request, task.project, str(error))
    return _onward(request, task.project, None)


@require_POST
@signed_in
def undo(request: PersonRequest, annotation_id: int) -> HttpResponse:
    """Take one's last judgement back: its task again, with the earlier answer selected."""
    annotation = get_object_or_404(
        Annotation.objects.select_related("project"),
        pk=sealing.plain(Of.ANNOTATION, annotation_id),
        annotator=request.user,
    )
    project = access.project_for(request.user, annotation.project.slug, JUDGES)
    try:
        assignment = judging.undo(annotation, request.user)
    except (judging.CannotUndo, freezing.Frozen) as error:
        if _by_script(request):
            return JsonResponse({"title": str(error)}, status=409)
        messages.warning(request, str(error))
        return redirect("annotation:work", project.slug)
    if not _by_script(request):
        return _page(request, project, assignment, saved=gettext("Taken back: change it and submit"))
    before, counts = _last_annotation(project, request.user), progress.of(project, request.user)
    reply = {"item": _item(request, project, assignment, counts), "undo": _undo_url(before)}
    return JsonResponse(reply | counts.as_dict())


@require_POST
@signed_in
def draft(request: PersonRequest, task_id: int) -> HttpResponse:
    """Keep a half-made judgement, or start it from the model's draft."""
    task = access.task_for(request.user, task_id, JUDGES)
    body = forms.draft_of(task.project, request.POST)
    if request.POST.get("start"):
        first = task.responses.order_by("pk").first()
        body |= {"text": first.text if first else ""}
    try:
        judging.save_draft(task, request.user, body)
    except queue.LeaseLost:
        return _lost(request, task.project)
    except bodies.BodyError as error:
        return _refused(request, task.project, task.pk, error.errors)
    return HttpResponse(status=204) if _by_script(request) else redirect("annotation:work", task.project.slug)


@require_POST
@signed_in
def renew(request: PersonRequest, task_id: int) -> HttpResponse:
    """Hold the task for another while, because its annotator is at work."""
    rows = Assignment.objects.select_related("project")
    assignment = get_object_or_404(rows, task=sealing.plain(Of.TASK, task_id), annotator=request.user)
    access.check_number(access.project_for(request.user, assignment.project.slug, JUDGES), task_id)
    try:
        queue.renew(assignment)
    except queue.LeaseLost:
        return _lost(request, assignment.project)
    return HttpResponse(status=204)


@require_POST
@signed_in
def ahead(request: PersonRequest, task_id: int) -> HttpResponse:
    """The task after the one on display, leased already, so that it can be shown at once."""
    rows = Assignment.objects.select_related("project")
    held = get_object_or_404(rows, task=sealing.plain(Of.TASK, task_id), annotator=request.user)
    project = access.project_for(request.user, held.project.slug, JUDGES)
    access.check_number(project, task_id)
    try:
        following = queue.prefetch_next(project, request.user, besides=held)
    except queue.NotNow:  # what is on display may still be judged; its reply says why nothing follows
        following = None
    if following is None:
        return JsonResponse({"ahead": None})
    return JsonResponse({"ahead": _item(request, project, following, progress.of(project, request.user))})


@require_POST
@signed_in
def preview(request: PersonRequest) -> HttpResponse:
    """Markdown as it will look, beside what changed against the draft it started from."""
    text, original = str(request.POST.get("text", "")), str(request.POST.get("original", ""))
    context = {
        "preview": rendering.render_markdown(text[: bodies.LONGEST_DEMONSTRATION]),
        "changes": rendering.changes(original, text),
        "words": len(text.split()),
        "tokens": rendering.estimated_tokens(text),
        "changed": f"{rendering.changed_share(original, text):.0%}".rstrip("%") if original and text else "",
    }
    return render(request, "annotation/_preview.html", context)


def change_page(request: PersonRequest, annotation: Annotation) -> HttpResponse:
    """The judging page with a standing answer of this person's, which a submit replaces."""
    rows = Assignment.objects.select_related("task", "project")
    held = get_object_or_404(rows, task=annotation.task_id, annotator=request.user)
    held.task.project = held.project = annotation.task.project
    answer = bodies.as_shown(annotation.kind, annotation.body, annotation.shown)
    return _page(
        request, held.project, held, saved=gettext("Your answer; change it and submit"), answer=answer, changing=True
    )


def _by_script(request: PersonRequest) -> bool:
    return request.headers.get("X-Requested-With") == "fetch"


def _item(
    request: PersonRequest,
    project: Project,
    assignment: Assignment | None,
    counts: Progress,
    *,
    told: Feedback | None = None,
    blocked: str = "",
) -> str:
    """The fragment #item for `assignment`."""
    context = {
        "project": project,
        "item": screen.of(assignment) if assignment else None,
        "counts": counts,
        "feedback": told,
        "blocked": blocked,
    }
    return render_to_string("annotation/_item.html", context, request)


def _page(
    request: PersonRequest,
    project: Project,
    assignment: Assignment | None,
    *,
    errors: dict[str, str] | None = None,
    saved: str = "",
    answer: dict[str, Any] | None = None,
    changing: bool = False,
    blocked: str = "",
) -> HttpResponse:
    if assignment and answer:
        assignment.draft = answer
    item = screen.of(assignment) if assignment else None
    if item:
        item.changing = changing
    reads_data = project.my_role != "annotator"
    guideline = project.guideline
    context = {
        "project": project,
        "item": item,
        "counts": progress.of(project, request.user),
        "heading": question_line(project),
        "guideline": guideline,
        "news": guidelines.news(project, request.user, guideline),
        "keys": shortcuts.key_list(project, questions_of(project)),
        "undo": _undo_url(_last_annotation(project, request.user)),
        "saved": saved,
        "errors": errors,
        "blocked": blocked,
        "leave": reverse("annotation:project", args=[project.slug]) if reads_data else reverse("annotation:my_work"),
    }
    return render(request, "annotation/work.html", context, status=422 if errors else 200)


def _last_annotation(project: Project, user: User) -> int | None:
    own = Annotation.objects.standing().filter(project=project, annotator=user)
    return own.order_by("-pk").values_list("pk", flat=True).first()


def _undo_url(annotation_id: int | None) -> str:
    """Where the judgement is taken back: at a new number each time, as an answer to a repeat has that of the first."""
    salt = random.getrandbits(sealing.SALT)
    return (
        reverse("annotation:undo", args=[sealing.seal(Of.ANNOTATION, annotation_id, salt=salt)])
        if annotation_id
        else ""
    )


def _onward(
    request: PersonRequest, project: Project, annotation: Annotation | None, *, told: Feedback | None = None
) -> HttpResponse:
    if not _by_script(request):
        if told:
            messages.info(request, gettext("%(title)s %(sentence)s") % {"title": told.title, "sentence": told.sentence})
        return redirect("annotation:work", project.slug)
    reply: dict[str, Any] = {"undo": _undo_url(annotation.pk)} if annotation and not told else {}
    on_display = _on_display(request, project)
    following, blocked = None, ""
    try:
        if on_display:
            following = queue.prefetch_next(project, request.user, besides=on_display)
        else:
            following = queue.lease_next(project, request.user)
    except queue.NotNow as error:
        blocked = str(error)
    counts = progress.of(project, request.user)
    if on_display:
        reply["ahead"] = _item(request, project, following, counts) if following else None
    else:
        reply["item"] = _item(request, project, following, counts, told=told, blocked=blocked)
    return JsonResponse(reply | counts.as_dict())


def _on_display(request: PersonRequest, project: Project) -> Assignment | None:
    """The item that the page says to show already."""
    shown = str(request.POST.get("next", ""))
    number = int(shown) if shown.isdecimal() and len(shown) < 20 else 0
    if not sealing.takes(project, number):
        return None
    mine = Assignment.objects.filter(annotator=request.user, project=project)
    return mine.filter(task=sealing.plain(Of.TASK, number)).first()


def _refused(request: PersonRequest, project: Project, task_id: int, errors: dict[str, str]) -> HttpResponse:
    """The same task with the answer as it was sent and a sentence for each field that is wrong."""
    if _by_script(request):
        return JsonResponse({"errors": errors}, status=422)
    mine = Assignment.objects.filter(task=task_id, annotator=request.user, state=Assignment.State.SUBMITTED)
    held = judging.held(project, task_id, request.user) or mine.first()
    if held is None:
        return _lost(request, project)
    return _page(request, project, held, errors=errors, answer=forms.draft_of(project, request.POST))


LOST = gettext_noop("Your time on that item ran out and it went to somebody else, so this answer was not saved.")


def _lost(request: PersonRequest, project: Project, title: str = LOST) -> HttpResponse:
    title = gettext(title)
    if _by_script(request):
        return JsonResponse({"title": title}, status=409)
    messages.warning(request, title)
    return redirect("annotation:work", project.slug)
