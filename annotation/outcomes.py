"""What each judged task comes to: its rows and the judgements behind them, or the reason why it gives none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from annotation import aggregation, rating_pairs
from annotation.aggregation import Row
from annotation.judged import JudgedTask, Selection, judged_tasks, selected
from annotation.models import Kind, Project
from annotation.pair_verdicts import LeftOut
from annotation.raw_rows import raw_rows
from annotation.sameness import prompt_key
from annotation.soft_labels import with_soft_labels

DUPLICATE = "duplicate"


@dataclass(slots=True)
class Outcome:
    """What one task gives: its rows, the (id, revision) of each judgement behind them, or why it gives none."""

    task_id: int
    external_id: str | None
    prompt: list[dict[str, str]]
    metadata: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    used: list[tuple[int, int]] = field(default_factory=list)
    left_out: str = ""
    rulings: list[int] = field(default_factory=list)  # the adjudications that counted instead of votes
    tasks: list[JudgedTask] = field(default_factory=list)  # whose judgements were used


def found_in(project: Project, type: str, selection: Selection) -> Iterator[Outcome]:
    """What each judged task gives, by task id."""
    if type == "preference" and project.kind == Kind.RATING:
        found = _outcomes_of_groups(project, selection)
    else:
        tasks = (with_soft_labels if selection.aggregation == "posterior" else judged_tasks)(project, selection)
        found = (outcome_of(project, task, type, selection) for task in tasks)
    return _first_of_each(found) if selection.deduplicate else found


def outcome_of(project: Project, task: JudgedTask, type: str, selection: Selection) -> Outcome:
    """What one judged task gives."""
    left_out = ""
    made: list[Row] = []
    if type == "raw":
        made = raw_rows(project, task, selection)
    else:
        try:
            _check_counts(task, selection)
            made = aggregation.MAKERS[project.kind][type](task, selection)
        except LeftOut as reason:
            left_out = str(reason)
        if selection.extras:
            for row in made:
                row |= {"external_id": task.external_id, "metadata": task.metadata}
    used = [(vote.id, vote.revision) for vote in task.given] if made else []
    rulings = [task.ruling.pk] if made and task.ruling else []
    return Outcome(
        task.id, task.external_id, task.prompt, task.metadata, made, used, left_out, rulings, [task] if made else []
    )


def _check_counts(task: JudgedTask, selection: Selection) -> None:
    """LeftOut for a task that trains nobody."""
    if task.is_gold and not selection.gold:
        raise LeftOut("quality check")
    if selection.flags == "drop":
        for vote in task.votes:
            if vote.body.get("flags"):
                raise LeftOut("flagged")
    elif selection.exclude_flags and task.flags & set(selection.exclude_flags):
        raise LeftOut("flagged")


def _outcomes_of_groups(project: Project, selection: Selection) -> Iterator[Outcome]:
    """Pairs of rated answers to one prompt: the tasks without a pair tell why, the others come as one outcome."""
    for group in rating_pairs.groups(selected(project, selection), selection):
        standing = []
        for task in group:
            try:
                _check_counts(task, selection)
                aggregation.overall(task, selection)
                standing.append(task)
            except LeftOut as reason:
                yield Outcome(task.id, task.external_id, task.prompt, task.metadata, left_out=str(reason))
        if not standing:
            continue
        first = standing[0]
        made = Outcome(first.id, first.external_id, first.prompt, first.metadata)
        try:
            found = rating_pairs.pairs(standing, selection)
        except LeftOut as reason:
            made.left_out = str(reason)
        else:
            made.rows = [row | _extras(better) if selection.extras else row for row, better, _ in found]
            tasks = {task.id: task for _, *sides in found for task in sides}
            made.used = [(vote.id, vote.revision) for task in tasks.values() for vote in task.given]
            made.tasks = list(tasks.values())
            made.rulings = [task.ruling.pk for task in tasks.values() if task.ruling]
        yield made


def _extras(task: JudgedTask) -> Row:
    return {"external_id": task.external_id, "metadata": task.metadata}


def _first_of_each(found: Iterator[Outcome]) -> Iterator[Outcome]:
    """The outcomes without rows that came before: same prompt, and the very same answers."""
    seen: set[int] = set()
    for outcome in found:
        if outcome.rows:
            key = prompt_key(outcome.prompt)
            kept = []
            for row in outcome.rows:
                mark = _mark(key, row)
                if mark not in seen:
                    seen.add(mark)
                    kept.append(row)
            outcome.rows = kept
            if not kept:
                outcome.used, outcome.tasks, outcome.rulings, outcome.left_out = [], [], [], DUPLICATE
        yield outcome


ABOUT = {"prompt", "margin", "agreement", "weight", "posterior", "task_id", "external_id", "metadata"}


def _mark(key: str, row: Row) -> int:
    said = {name: value for name, value in row.items() if name not in ABOUT}
    digest = hashlib.blake2b(f"{key}{json.dumps(said)}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
