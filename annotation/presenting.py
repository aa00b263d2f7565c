"""A leased task as its annotator may see it: nothing about where the responses come from."""

from __future__ import annotations

from typing import Any

from annotation.models import Assignment
from annotation.questions import questions_of


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
