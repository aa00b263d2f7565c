"""Judged tasks read for export: in order, a page at a time, so that memory stays flat and the first row comes early."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from annotation.models import Annotation, Project, Purpose, Response, Task

FIRST_PAGE, PAGE = 50, 1000  # tasks


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which judgements count, and how several of one task become one."""

    purpose: str | None = Purpose.LABEL  # an evaluation's answers never reach training unless asked for
    aggregation: str = "majority"  # each | majority | strength
    min_agreement: float = 0.0  # share of a task's votes that the outcome needs
    exclude_annotators: tuple[str, ...] = ()
    flags: str = "drop"  # drop | keep: tasks that somebody flagged
    metadata: dict[str, Any] = field(default_factory=dict)  # values that a task must have
    since: datetime | None = None
    until: datetime | None = None
    guideline: int | None = None  # number of the version judged under
    threshold: float | None = None  # mean rating from which an answer counts as good
    gold: bool = False  # tasks with a known answer test people; they train nobody
    names: bool = False  # raw: real names instead of pseudonyms
    history: bool = False  # raw: every revision instead of the standing ones
    extras: bool = False  # add external_id and metadata to each row


@dataclass(frozen=True)
class Vote:
    id: int
    revision: int
    annotator: int
    username: str
    simulated: bool
    status: str
    body: dict[str, Any]
    seconds: float | None
    guideline: int | None
    created_at: datetime


@dataclass(frozen=True)
class JudgedTask:
    id: int
    external_id: str | None
    prompt: list[dict[str, str]]
    metadata: dict[str, Any]
    is_gold: bool
    responses: dict[int, str]  # text by id, in the order given at import
    votes: list[Vote]

    @property
    def flagged(self) -> bool:
        return any(vote.body.get("flags") for vote in self.votes)


def judged_tasks(project: Project, selection: Selection) -> Iterator[JudgedTask]:
    """Tasks that have selected judgements, by id, each with those judgements in order of their ids."""
    last, size = 0, FIRST_PAGE
    rows = _selected(project, selection)
    while ids := list(
        rows.filter(task__gt=last).order_by("task").values_list("task", flat=True).distinct()[:size],
    ):
        yield from _page(ids, rows, selection)
        last, size = ids[-1], PAGE


def _selected(project: Project, selection: Selection) -> Any:
    rows = Annotation.objects.filter(project=project)
    if not selection.history:
        rows = rows.standing()
    if selection.purpose is not None:
        rows = rows.filter(task__purpose=selection.purpose)
    if selection.exclude_annotators:
        rows = rows.exclude(annotator__username__in=selection.exclude_annotators)
    if selection.since is not None:
        rows = rows.filter(created_at__gte=selection.since)
    if selection.until is not None:
        rows = rows.filter(created_at__lt=selection.until)
    if selection.guideline is not None:
        rows = rows.filter(guideline__number=selection.guideline)
    return rows


def _page(ids: list[int], rows: Any, selection: Selection) -> Iterator[JudgedTask]:
    votes: dict[int, list[Vote]] = {task: [] for task in ids}
    columns = ("id", "revision", "annotator", "annotator__username", "annotator__is_simulated", "status", "body")
    more = ("seconds", "guideline__number", "created_at")
    for task, *values in rows.filter(task__in=ids).order_by("id").values_list("task", *columns, *more):
        votes[task].append(Vote(*values))
    responses: dict[int, dict[int, str]] = {task: {} for task in ids}
    texts = Response.objects.filter(task__in=ids).order_by("task", "position").values_list("task", "id", "text")
    for task, response, text in texts:
        responses[task][response] = text
    tasks = Task.objects.filter(pk__in=ids).order_by("pk")
    for task, external_id, prompt, metadata, is_gold in tasks.values_list(
        "pk", "external_id", "prompt", "metadata", "is_gold"
    ):
        judged = JudgedTask(task, external_id, prompt, metadata, is_gold, responses[task], votes[task])
        if all(judged.metadata.get(key) == value for key, value in selection.metadata.items()):
            yield judged
