"""Judgements out of a project, as the rows that trainers read or as the raw record of who said what."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from django.conf import settings

from annotation import aggregation, writing
from annotation.aggregation import LeftOut, Row
from annotation.judged import JudgedTask, Selection, Vote, judged_tasks
from annotation.models import Project
from annotation.questions import questions_of

TYPES = ("sft", "preference", "binary", "rating", "ranking", "raw")
FORMATS = writing.FORMATS
AGGREGATIONS = ("majority", "strength", "each")
FLAG_RULES = ("drop", "keep")


class ExportError(ValueError):
    """This project cannot give what was asked for; the message is one sentence."""


@dataclass(frozen=True)
class Outcome:
    """What one task gives: its rows, the (id, revision) of each judgement behind them, or why it gives none."""

    task_id: int
    external_id: str | None
    prompt: list[dict[str, str]]
    metadata: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    used: list[tuple[int, int]] = field(default_factory=list)
    left_out: str = ""


def types_of(kind: str) -> list[str]:
    """The types that a project of this kind can honestly yield."""
    return [*aggregation.MAKERS[kind], "raw"]


def outcomes(project: Project, type: str, **options: Any) -> Iterator[Outcome]:
    """What each judged task gives, by task id; for snapshots, which account for every judgement."""
    selection = _checked(project, type, options)
    return (_outcome(project, task, type, selection) for task in judged_tasks(project, selection))


def rows(project: Project, type: str, **options: Any) -> Iterator[Row]:
    """The rows of one type; see judged.Selection for the options."""
    return (row for outcome in outcomes(project, type, **options) for row in outcome.rows)


def stream(project: Project, type: str, format: str, **options: Any) -> Iterator[bytes]:
    """An export file piece by piece; what cannot be given raises ExportError at once, before the first piece."""
    if format not in FORMATS:
        raise ExportError(f"The format must be one of {', '.join(FORMATS)}, not {format!r}.")
    found = rows(project, type, **options)
    return writing.WRITERS[format](found, columns(project, type, extras=bool(options.get("extras"))))


def write(project: Project, type: str, format: str, path: Path, **options: Any) -> int:
    """Write an export file, which appears under its name only when it is complete; gives its size in bytes."""
    return writing.to_file(stream(project, type, format, **options), path)


def columns(project: Project, type: str, *, extras: bool = False) -> dict[str, str]:
    """The columns of a type and what they hold: see writing.KINDS."""
    found = dict(COLUMNS[type])
    if type == "rating":
        found |= {aspect["name"]: "float" for aspect in questions_of(project)["aspects"]}
    return found | (EXTRAS if extras and type != "raw" else {})


def schema(project: Project, type: str) -> Any:
    """The pyarrow schema of a type's rows."""
    return writing.arrow_schema(columns(project, type))


COLUMNS: dict[str, dict[str, str]] = {
    "sft": {"prompt": "messages", "completion": "messages"},
    "preference": {
        "prompt": "messages",
        "chosen": "messages",
        "rejected": "messages",
        "margin": "float",
        "agreement": "float",
        "weight": "float",
        "task_id": "integer",
    },
    "binary": {"prompt": "messages", "completion": "messages", "label": "boolean"},
    "rating": {"prompt": "messages", "completion": "messages"},
    "ranking": {"prompt": "messages", "responses": "texts", "ranks": "floats", "task_id": "integer"},
    "raw": {
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
    },
}
EXTRAS = {"external_id": "text", "metadata": "json"}


def _checked(project: Project, type: str, options: dict[str, Any]) -> Selection:
    if type not in TYPES:
        raise ExportError(f"The type must be one of {', '.join(TYPES)}, not {type!r}.")
    if type not in types_of(project.kind):
        raise ExportError(f"A {project.kind} project gives {', '.join(types_of(project.kind))}, but no {type} rows.")
    if strange := options.keys() - {known.name for known in fields(Selection)}:
        raise ExportError(f"There is no export option {min(strange)}.")
    selection = Selection(**options)
    for name, allowed in (("aggregation", AGGREGATIONS), ("flags", FLAG_RULES)):
        if getattr(selection, name) not in allowed:
            raise ExportError(f"{name} must be one of {', '.join(allowed)}, not {getattr(selection, name)!r}.")
    if not 0 <= selection.min_agreement <= 1:
        raise ExportError(f"min_agreement must lie between 0 and 1, not {selection.min_agreement}.")
    if type == "binary" and project.kind == "rating" and selection.threshold is None:
        raise ExportError("Good or bad from ratings needs a threshold: the mean rating from which an answer is good.")
    if type != "raw" and selection.history:
        raise ExportError("Only raw rows have a history: training rows come from the standing judgements.")
    return selection


def _outcome(project: Project, task: JudgedTask, type: str, selection: Selection) -> Outcome:
    about = (task.id, task.external_id, task.prompt, task.metadata)
    if type == "raw":
        made = [_raw(project, task, vote, selection.names) for vote in task.votes]
    else:
        try:
            made = _made(project, task, type, selection)
        except LeftOut as reason:
            return Outcome(*about, left_out=str(reason))
    return Outcome(*about, rows=made, used=[(vote.id, vote.revision) for vote in task.votes])


def _made(project: Project, task: JudgedTask, type: str, selection: Selection) -> list[Row]:
    if task.is_gold and not selection.gold:
        raise LeftOut("quality check")
    if selection.flags == "drop" and task.flagged:
        raise LeftOut("flagged")
    made = aggregation.MAKERS[project.kind][type](task, selection)
    if selection.extras:
        made = [row | {"external_id": task.external_id, "metadata": task.metadata} for row in made]
    return made


def _raw(project: Project, task: JudgedTask, vote: Vote, names: bool) -> Row:
    return {
        "annotation_id": vote.id,
        "task_id": task.id,
        "external_id": task.external_id,
        "annotator": vote.username if names else pseudonym(project, vote.annotator, simulated=vote.simulated),
        "revision": vote.revision,
        "kind": project.kind,
        "created_at": vote.created_at.isoformat(),
        "seconds": vote.seconds,
        "guideline_version": vote.guideline,
        "body": vote.body,
        "status": vote.status,
    }


def pseudonym(project: Project, user_id: int, *, simulated: bool = False) -> str:
    """A name that is the same throughout a project and tells nobody whose it is; simulated raters stay marked."""
    key = hmac.new(settings.SECRET_KEY.encode(), f"annotator {project.pk} {user_id}".encode(), hashlib.sha256)
    return ("simulated-" if simulated else "annotator-") + key.hexdigest()[:10]
