"""A leased task as its annotator may see it: nothing about where the responses come from, or what it is for."""

from __future__ import annotations

from typing import Any

from annotation import sealing
from annotation.models import Assignment, Project
from annotation.questions import questions_of
from annotation.sealing import Of


def leased_task(assignment: Assignment) -> dict[str, Any]:
    """The task of DESIGN section 4: no source, score, gold mark, model name, metadata or caller's id in it.

    One that a reviewer sent back says why, as "returned".
    """
    task, project = assignment.task, assignment.project
    texts = task.texts
    return {
        "id": task.pk,
        "kind": project.kind,
        "prompt": [{"role": message["role"], "content": message["content"]} for message in task.prompt],
        "responses": [{"id": pk, "text": texts[pk]} for pk in assignment.shown if pk in texts],
        "lease_until": assignment.lease_until.isoformat(),
        "draft": assignment.draft,
        "questions": questions_of(project),
    } | ({"returned": assignment.returned} if assignment.returned else {})


def for_program(assignment: Assignment) -> dict[str, Any]:
    """The same as the API tells it: with ids, or with numbers in place of them where ids would tell the checks.

    The numbers of a repeat are not those of the first time.
    """
    told, is_repeat = leased_task(assignment), assignment.pk is None
    return _sealed(told, salt=int(is_repeat)) if is_repeat or sealing.needed(assignment.project) else told


def body_for_program(project: Project, body: Any, *, salt: int = 0) -> Any:
    """A draft or a stored body in the same terms."""
    if not salt and not sealing.needed(project):
        return body
    return sealing.renumbered(body, sealing.sealed_response(salt))


def for_page(assignment: Assignment) -> dict[str, Any]:
    """The same as a page tells it: with numbers always, and those of a repeat are not those of the first time.

    A page stays open while the project's rules change, so that what it sends must be right before and after.
    """
    is_repeat = assignment.pk is None
    return _sealed(leased_task(assignment), salt=int(is_repeat))


def _sealed(told: dict[str, Any], *, salt: int) -> dict[str, Any]:
    number = sealing.sealed_response(salt)
    responses = [one | {"id": number(one["id"])} for one in told["responses"]]
    draft = sealing.renumbered(told["draft"], number)
    return told | {"id": sealing.seal(Of.TASK, told["id"], salt=salt), "responses": responses, "draft": draft}
