"""Preference pairs as columns, a page of tasks at a time: what is exported most, without an object for each row.

A task whose answer somebody improved, or on which a reviewer ruled, goes the way that every kind of row can go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from django.db.models import FilteredRelation, Q, QuerySet

from annotation import rulings
from annotation.judged import Selection, fetched, selected, stored_text, tasks_of, value_of, whole_tasks
from annotation.models import Annotation, Kind, Project, Task
from annotation.outcomes import outcome_of
from annotation.page_writing import Page
from annotation.pair_verdicts import LeftOut, choice_lead, verdicts
from annotation.spans import about
from annotation.writing import as_json

Body = dict[str, Any]
Cells = tuple[str, str, str, float, float, float, int]

FORMS = {
    "prompt": "stored messages",
    "chosen": "answer",
    "rejected": "answer",
    "margin": "float",
    "agreement": "float",
    "weight": "float",
    "task_id": "integer",
}


def suits(project: Project, type: str, selection: Selection) -> bool:
    """Whether these rows are pairs that need nothing but the prompt, two answers and the votes."""
    more = (selection.metadata, selection.without, selection.deduplicate, selection.extras)
    return (
        type == "preference"
        and project.kind == Kind.PREFERENCE
        and selection.aggregation != "posterior"
        and not any(more)
    )


def pages(project: Project, selection: Selection) -> Iterator[Page]:
    """The rows that outcomes.found_in gives, in the same order."""
    # The tasks are read anyway and tell their purpose; asking the judgements for it would read each task twice.
    rows = selected(project, replace(selection, purpose=None)).order_by("task", "id")
    for found in whole_tasks(rows, lambda some: fetched(some.values_list("task", stored_text("body")))):
        bodies: dict[int, list[Body]] = {}
        for task, body in found:
            bodies.setdefault(task, []).append(value_of(body))
        made = list(_rows(project, bodies, rows, selection))
        yield (
            dict(zip(FORMS, map(list, zip(*made, strict=True)), strict=True)) if made else {name: [] for name in FORMS}
        )


def _rows(
    project: Project, bodies: dict[int, list[Body]], votes: QuerySet[Annotation], selection: Selection
) -> Iterator[Cells]:
    settled = rulings.standing(bodies) if selection.rulings == "prefer" else {}
    unusual = [task for task, said in bodies.items() if task in settled or any("improved" in body for body in said)]
    others = _other_rows(project, unusual, votes, selection)
    decide = partial(verdicts, aggregation=selection.aggregation, ties=selection.ties, least=selection.min_agreement)
    for task, prompt, is_gold, purpose, first, one, other in _tasks(list(bodies)):
        if task not in bodies or (selection.purpose is not None and purpose != selection.purpose):
            continue
        if task in others:
            yield from others[task]
            continue
        said = bodies[task]
        if (is_gold and not selection.gold) or _is_flagged(said, selection):
            continue
        try:
            found = decide(tuple([choice_lead(body, first) for body in said]))
        except LeftOut:
            continue
        whole = 1.0 if len(found) == 1 else sum([won.weight for won in found])
        for winner, margin, agreement, weight, _ in found:
            weight = 1.0 if len(found) == 1 else weight / whole
            chosen, rejected = (one, other) if winner == 1 else (other, one)
            yield prompt, chosen, rejected, margin, agreement, weight, task


def _tasks(ids: list[int]) -> list[tuple[Any, ...]]:
    """Id, prompt, whether it is gold, purpose, the first response's id and text and the second's text of each task."""
    places = {
        name: FilteredRelation("responses", condition=Q(responses__position=place))
        for place, name in enumerate(("one", "other"))
    }
    columns = ("pk", stored_text("prompt"), "is_gold", "purpose", "one__pk", "one__text", "other__text")
    rows: Any = Task.objects.filter(**about(ids, "pk")).annotate(**places).order_by("pk").values_list(*columns)
    return fetched(rows)


def _other_rows(
    project: Project, ids: list[int], votes: QuerySet[Annotation], selection: Selection
) -> dict[int, list[Cells]]:
    found: dict[int, list[Cells]] = {task: [] for task in ids}
    for task in tasks_of(ids, votes, selection) if ids else ():
        for row in outcome_of(project, task, "preference", selection).rows:
            sides = (row[side][0]["content"] for side in ("chosen", "rejected"))
            rest = (row[name] for name in ("margin", "agreement", "weight", "task_id"))
            found[task.id].append((as_json(row["prompt"]), *sides, *rest))
    return found


def _is_flagged(said: list[Body], selection: Selection) -> bool:
    flags = {flag for body in said for flag in body.get("flags") or ()}
    return bool(flags) if selection.flags == "drop" else not flags.isdisjoint(selection.exclude_flags)
