"""The raw record of who said what, one row a judgement."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Any

from django.conf import settings

from annotation.judged import JudgedTask, Selection, Vote, ruled
from annotation.models import Project

COLUMNS = {
    "annotation_id": "integer",
    "task_id": "integer",
    "external_id": "text",
    "annotator": "text",
    "revision": "integer",
    "kind": "text",
    "created_at": "text",
    "seconds": "float",
    "guideline_version": "integer",
    "body": "json",
    "status": "text",
}
# What else an import needs to bring the judgement back: the task that it is about.
EXTRAS = {"prompt": "messages", "responses": "json", "metadata": "json", "priority": "integer", "gold": "json"}


def raw_rows(project: Project, task: JudgedTask, selection: Selection) -> list[dict[str, Any]]:
    """One row for each judgement, with pseudonyms unless names are asked for.

    What a reviewer settled is one more row, whose status is the decision: it is no annotation and has no such id. Rows
    with extras are for importing again, which takes judgements alone.
    """
    if selection.extras:
        more = {"prompt": task.prompt, "metadata": task.metadata, **task.whole}
        return [_row(project, task, vote, selection.names) | more for vote in task.given]
    rows = [_row(project, task, vote, selection.names) for vote in task.given]
    if task.ruling:
        rows.append(_row(project, task, ruled(task.ruling), selection.names) | {"annotation_id": None})
    return rows


def _row(project: Project, task: JudgedTask, vote: Vote, names: bool) -> dict[str, Any]:
    return {
        "annotation_id": vote.id,
        "task_id": task.id,
        "external_id": task.external_id,
        "annotator": name_of(project, vote, names=names),
        "revision": vote.revision,
        "kind": project.kind,
        "created_at": vote.made_at,
        "seconds": vote.seconds,
        "guideline_version": vote.guideline,
        "body": vote.body,
        "status": vote.status,
    }


def name_of(project: Project, vote: Vote, *, names: bool) -> str:
    return vote.username if names else pseudonym(project, vote.annotator, simulated=vote.simulated)


def pseudonym(project: Project, user_id: int, *, simulated: bool = False) -> str:
    """A name that is the same throughout a project and tells nobody whose it is; simulated raters stay marked."""
    return _pseudonym(settings.SECRET_KEY, project.pk, user_id, simulated)


@lru_cache(maxsize=10_000)
def _pseudonym(secret: str, project: int, user: int, simulated: bool) -> str:
    key = hmac.new(secret.encode(), f"annotator {project} {user}".encode(), hashlib.sha256)
    return ("simulated-" if simulated else "annotator-") + key.hexdigest()[:10]
