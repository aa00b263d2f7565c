"""Comments on a task, and the inbox they arrive in."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access, discussing, rendering, sealing, wording
from annotation.models import Annotation, Assignment, Comment, Task
from annotation.models.people import JUDGES, SEES_NAMES
from annotation.shell import PersonRequest, signed_in

PER_PAGE = 30


@require_http_methods(["GET", "POST"])
@signed_in
def talk(request: PersonRequest, task_id: int) -> HttpResponse:
    """The conversation on a task that one had; a POST says something. Reviewers have it on the adjudication page."""
    task = access.task_for(request.user, task_id, JUDGES)
    reviews = task.project.my_role in SEES_NAMES
    if not reviews and not Assignment.objects.filter(task=task, annotator=request.user).exists():
        raise Http404(gettext("There is no such task."))
    if request.method == "POST":
        return _say(request, task)
    if reviews:
        return redirect("annotation:adjudicate", task.pk)
    return _page(request, task)


@require_POST
@signed_in
def resolve(request: PersonRequest, comment_id: int) -> HttpResponse:
    """Mark a comment as dealt with, or open it again."""
    comment = get_object_or_404(Comment.objects.visible_to(request.user).select_related("task"), pk=comment_id)
    access.task_for(request.user, comment.task_id, SEES_NAMES)
    discussing.resolve(comment, resolved=not comment.resolved)
    return redirect("annotation:adjudicate", comment.task_id)


@require_GET
@signed_in
def inbox(request: PersonRequest) -> HttpResponse:
    """Comments that concern one, newest first; those shown count as read from now on."""
    page = Paginator(discussing.inbox(request.user), PER_PAGE).get_page(request.GET.get("page"))
    roles = dict(request.user.memberships.values_list("project", "role"))
    rows = []
    for notice in page:
        comment = notice.comment
        reviews = request.user.is_superuser or roles.get(comment.project_id) in SEES_NAMES
        rows.append((notice, comment.author.label if reviews else gettext("Reviewer")))
    response = render(request, "annotation/inbox.html", {"page": page, "rows": rows})
    discussing.mark_read(list(page))
    return response


def _say(request: PersonRequest, task: Task) -> HttpResponse:
    sent, to = str(request.POST.get("body", "")), str(request.POST.get("to", ""))
    try:
        partner = None
        if to.isdigit() and len(to) < 19:
            partner = get_object_or_404(Assignment.objects.filter(task=task), annotator=int(to)).annotator
        said = discussing.say(task, request.user, sent, to=partner)
    except discussing.CannotSay as error:
        messages.error(request, str(error))
    else:
        messages.success(request, gettext("Said"))
        if missing := discussing.unheard(said):
            names = ", ".join(missing[:5])
            messages.warning(
                request, gettext("Nobody was told who is called %(names)s: only reviewers here are.") % {"names": names}
            )
    return redirect("annotation:talk", sealing.seal(sealing.Of.TASK, task.pk))


def _page(request: PersonRequest, task: Task) -> HttpResponse:
    own = Annotation.objects.standing().filter(task=task, annotator=request.user).first()
    context = {
        "project": task.project,
        "task": task,
        "prompt": rendering.render_markdown(task.last_message),
        "answer": wording.answer_in_words(own) if own else None,
        "lines": discussing.lines(task, request.user),
    }
    return render(request, "annotation/talk.html", context)
