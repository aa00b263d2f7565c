"""The raw record as columns, a page of judgements at a time; what each says is passed on as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet, TextField
from django.db.models.functions import Cast

from annotation import rulings
from annotation.judged import Selection, fetched, ruled, selected, stored_text, whole_tasks
from annotation.models import Annotation, Project, User
from annotation.page_writing import Page
from annotation.raw_rows import COLUMNS, pseudonym
from annotation.writing import as_json

FORMS = {name: "stored json" if kind == "json" else kind for name, kind in COLUMNS.items()}


def suits(type: str, selection: Selection) -> bool:
    """Whether these rows need nothing of a task but its ids."""
    return type == "raw" and not (selection.metadata or selection.without or selection.extras)


def pages(project: Project, selection: Selection) -> Iterator[Page]:
    """The rows that raw_rows.raw_rows gives, in the same order."""
    names = _Names(project, real=selection.names)
    for found in whole_tasks(selected(project, selection).order_by("task", "id"), _read):
        names.learn({row[2] for row in found})
        made = [
            (pk, task, outside, names.of[judge], revision, project.kind, _moment(made), seconds, version, body, status)
            for task, pk, judge, outside, revision, made, seconds, version, body, status in found
        ]
        if selection.rulings == "prefer":
            made = _with_rulings(project, made, names)
        yield dict(zip(FORMS, map(list, zip(*made, strict=True)), strict=True))


def _read(rows: QuerySet[Annotation]) -> list[tuple[Any, ...]]:
    # As text, so that SQLite's driver makes no datetime of it, which would be made text again.
    made: Any = Cast("created_at", TextField()) if connection.vendor == "sqlite" else F("created_at")
    columns = ("task", "id", "annotator", "task__external_id", "revision", made)
    more = ("seconds", "guideline__number", stored_text("body"), "status")
    return fetched(rows.values_list(*columns, *more))


def _moment(made: str | datetime) -> str:
    """A time in UTC, as isoformat gives it."""
    return made.replace(" ", "T") + "+00:00" if isinstance(made, str) else made.isoformat()


def _with_rulings(project: Project, rows: list[tuple[Any, ...]], names: _Names) -> list[tuple[Any, ...]]:
    """The same rows, and after those of a task the one of what a reviewer settled on it."""
    settled = rulings.standing(dict.fromkeys(row[1] for row in rows))
    if not settled:
        return rows
    found = []
    for place, row in enumerate(rows):
        found.append(row)
        task, outside = row[1:3]
        if task in settled and (place + 1 == len(rows) or rows[place + 1][1] != task):
            vote = ruled(settled[task])
            names.learn({vote.annotator})
            said = (vote.revision, project.kind, vote.made_at, vote.seconds, vote.guideline, as_json(vote.body))
            found.append((None, task, outside, names.of[vote.annotator], *said, vote.status))
    return found


class _Names:
    """What the people of one export are called in it."""

    def __init__(self, project: Project, *, real: bool) -> None:
        self.project, self.real = project, real
        self.of: dict[int, str] = {}

    def learn(self, ids: set[int]) -> None:
        people = User.objects.filter(pk__in=ids - self.of.keys())
        for pk, username, simulated in people.values_list("pk", "username", "is_simulated"):
            self.of[pk] = username if self.real else pseudonym(self.project, pk, simulated=simulated)
