"""Judged tasks read for export: in order, a page at a time, so that memory stays flat and the first row comes early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from json import JSONDecoder
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import ExpressionWrapper, F, IntegerField, QuerySet, TextField, Value

from annotation import rulings, withdrawals
from annotation.models import Adjudication, Annotation, Project, Purpose, Response, Task, User
from annotation.sameness import prompt_key
from annotation.spans import about

FIRST_PAGE, PAGE = 50, 2000  # tasks or judgements
UNTIMED = (None, None, None)
_parse = JSONDecoder().raw_decode


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which judgements count, and how several of one task become one."""

    purpose: str | None = Purpose.LABEL  # an evaluation's answers never reach training unless asked for
    aggregation: str = "majority"  # each | majority | strength | posterior (see soft_labels)
    ties: str = "drop"  # drop | half: both orders of the pair, with half the weight each
    min_agreement: float = 0.0  # share of a task's votes, or posterior probability, that the outcome needs
    exclude_annotators: tuple[str, ...] = ()
    flags: str = "drop"  # drop | keep: tasks that somebody flagged
    exclude_flags: tuple[str, ...] = ()  # with flags="keep": the flags whose tasks are left out all the same
    metadata: dict[str, Any] = field(default_factory=dict)  # values that a task must have
    since: datetime | None = None
    until: datetime | None = None
    guideline: int | None = None  # number of the version judged under
    exclude_guidelines: tuple[int, ...] = ()
    rulings: str = "prefer"  # prefer | ignore: what a reviewer settled counts instead of the votes
    threshold: float | None = None  # mean rating from which an answer counts as good
    gap: float | None = None  # difference of mean ratings from which one answer counts as better than another
    aspect: str | None = None  # of ratings: the one that threshold and gap are about; None takes the mean of all
    improved: str = "keep"  # keep | drop: pairs of an improved answer over the one it was made from
    deduplicate: bool = False  # drop rows whose prompt and answers came before
    gold: bool = False  # tasks with a known answer test people; they train nobody
    names: bool = False  # raw: real names instead of pseudonyms
    history: bool = False  # raw: every revision instead of the standing ones
    without: frozenset[str] = frozenset()  # keys of withdrawn prompts; exporting.checked sets it
    shown: bool = False  # votes tell the order in which their judge saw the responses
    timed: bool = False  # votes tell when they were made, in how long and under which guidelines; raw rows do
    extras: bool = False  # add external_id and metadata to each row; to raw ones, all that an import needs


class Vote(NamedTuple):
    id: int
    revision: int
    annotator: int
    username: str
    simulated: bool
    status: str
    body: dict[str, Any]
    seconds: float | None = None  # this and the next two where `timed` asks for them
    guideline: int | None = None
    created_at: datetime | None = None
    shown: Sequence[int] = ()  # response ids in the order shown, where `shown` asks for it

    @property
    def made_at(self) -> str | None:
        return self.created_at.isoformat() if self.created_at else None


class JudgedTask(NamedTuple):
    id: int
    external_id: str | None
    prompt: list[dict[str, str]]
    metadata: dict[str, Any]
    is_gold: bool
    responses: dict[int, str]  # text by id, in the order given at import
    votes: list[Vote]  # what counts: as given, or the one ruling that a reviewer made on them
    given: list[Vote]
    whole: dict[str, Any] = {}  # with extras: "responses" with their sources and scores, "priority" and "gold"
    ruling: Adjudication | None = None  # what counts instead of the votes
    soft: dict[tuple[int, int], Any] = {}  # by pair of responses: the chances of the first, of neither, of the second

    @property
    def flags(self) -> set[str]:
        return {flag for vote in self.votes for flag in vote.body.get("flags") or ()}


def judged_tasks(project: Project, selection: Selection) -> Iterator[JudgedTask]:
    """Tasks that have selected judgements, by id, each with those judgements in order of their ids."""
    rows = selected(project, selection).order_by("task", "id")
    for found in whole_tasks(rows, lambda some: _judgements(some, selection)):
        yield from _tasks(_by_task(found, selection), selection)


def whole_tasks(
    rows: QuerySet[Annotation], read: Callable[[QuerySet[Annotation]], list[tuple[Any, ...]]]
) -> Iterator[list[tuple[Any, ...]]]:
    """What `read` makes of these judgements, a page at a time and all those of a task on one; each begins with its
    task, by which they are ordered."""
    last, size = 0, FIRST_PAGE
    while found := read(rows.filter(task__gt=last)[:size]):
        if len(found) == size:  # more judgements of the last task may follow
            if found[0][0] == found[-1][0]:
                size *= 2
                continue
            found = [row for row in found if row[0] != found[-1][0]]
        yield found
        last, size = found[-1][0], PAGE


def pages(rows: QuerySet[Annotation]) -> Iterator[list[int]]:
    """The ids of the tasks that these judgements are about, in order: a few first, then a thousand at a time."""
    last, size = 0, FIRST_PAGE
    while ids := list(
        rows.filter(task__gt=last).order_by("task").values_list("task", flat=True).distinct()[:size],
    ):
        yield ids
        last, size = ids[-1], PAGE


def selected(project: Project, selection: Selection) -> QuerySet[Annotation]:
    """The judgements that count."""
    rows = Annotation.objects.filter(project=project)
    if not selection.history:
        rows = rows.standing()
    if selection.purpose is not None:
        rows = rows.filter(task__purpose=selection.purpose)
    if gone := withdrawals.annotators_of(project):
        rows = rows.exclude(annotator__in=gone)
    if selection.exclude_annotators:
        rows = rows.exclude(annotator__username__in=selection.exclude_annotators)
    if selection.since is not None:
        rows = rows.filter(created_at__gte=selection.since)
    if selection.until is not None:
        rows = rows.filter(created_at__lt=selection.until)
    if selection.guideline is not None:
        rows = rows.filter(guideline__number=selection.guideline)
    if selection.exclude_guidelines:
        excluded = project.guideline_versions.filter(number__in=selection.exclude_guidelines)
        # Not exclude(): a judgement made under no guidelines of ours (an imported one) stays.
        rows = rows.exclude(guideline__isnull=False, guideline__in=list(excluded.values_list("pk", flat=True)))
    return rows


def tasks_of(ids: list[int], rows: QuerySet[Annotation], selection: Selection) -> Iterator[JudgedTask]:
    """The tasks with these ids, each with those of the judgements that are about it."""
    found = _judgements(rows.filter(**about(ids)).order_by("task", "id"), selection)
    votes = _by_task(found, selection)
    return _tasks({task: votes[task] for task in ids if task in votes}, selection)


def _tasks(votes: dict[int, list[Vote]], selection: Selection) -> Iterator[JudgedTask]:
    """The tasks that these judgements are about, by id."""
    ids = list(votes)
    if not ids:
        return
    responses: dict[int, dict[int, str]] = {task: {} for task in ids}
    texts = Response.objects.filter(**about(ids)).order_by("task", "position").values_list("task", "id", "text")
    for task, response, text in fetched(texts):
        if task in responses:
            responses[task][response] = text
    whole = _whole(ids) if selection.extras else {}
    settled = rulings.standing(ids) if selection.rulings == "prefer" else {}
    tasks = Task.objects.filter(**about(ids, "pk")).order_by("pk")
    columns = (
        "pk",
        "external_id",
        stored_text("prompt"),
        stored_text("metadata"),
        ExpressionWrapper(F("is_gold"), IntegerField()),
    )
    without, wanted = selection.without, selection.metadata
    for task, external_id, prompt_text, metadata_text, is_gold in fetched(tasks.values_list(*columns)):
        if task not in votes:
            continue
        prompt, metadata = value_of(prompt_text), value_of(metadata_text)
        if (without and prompt_key(prompt) in without) or (wanted and not has_all(metadata, wanted)):
            continue
        given = votes[task]
        ruling = settled.get(task)
        known = (external_id, prompt, metadata, bool(is_gold), responses[task])
        yield JudgedTask(task, *known, [ruled(ruling)] if ruling else given, given, whole.get(task, {}), ruling)


def _judgements(rows: QuerySet[Annotation], selection: Selection) -> list[tuple[Any, ...]]:
    """The task of each judgement, then what `_by_task` makes a vote of."""
    columns: tuple[Any, ...] = ("task", "id", "revision", "annotator", "status", stored_text("body"))
    columns += (stored_text("shown") if selection.shown else Value(""),)
    if selection.timed:
        return list(rows.values_list(*columns, "seconds", "guideline__number", "created_at"))
    return fetched(rows.values_list(*columns))


def _by_task(found: list[tuple[Any, ...]], selection: Selection) -> dict[int, list[Vote]]:
    # Not joined: each page has a few judges and a thousand of their judgements.
    people = User.objects.filter(pk__in={row[3] for row in found}).values_list("pk", "username", "is_simulated")
    judges = {pk: (pk, username, is_simulated) for pk, username, is_simulated in people}
    votes: dict[int, list[Vote]] = {}
    for row in found:
        task, pk, revision, annotator, status, body, shown = row[:7]
        order = value_of(shown) if shown else ()
        timing = row[7:] or UNTIMED
        vote = Vote(pk, revision, *judges[annotator], status, value_of(body), timing[0], timing[1], timing[2], order)
        if task in votes:
            votes[task].append(vote)
        else:
            votes[task] = [vote]
    return votes


def fetched(rows: QuerySet[Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows as the database gives them: numbers and texts, which need none of the converters a queryset applies."""
    try:
        sql, params = rows.query.sql_with_params()
    except EmptyResultSet:  # nothing can be found, as among no ids
        return []
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def stored_text(column: str) -> ExpressionWrapper:
    """A JSON column as the text that is stored, which is parsed here, a value at a time and without a converter."""
    return ExpressionWrapper(F(column), output_field=TextField())


def value_of(text: str) -> Any:
    return {} if text == "{}" else _parse(text)[0]


def ruled(ruling: Adjudication) -> Vote:
    """The ruling in the shape of a vote; its id is the adjudication's, its status the decision."""
    reviewer = ruling.reviewer
    said = (ruling.pk, 1, reviewer.pk, reviewer.username, reviewer.is_simulated, ruling.decision, ruling.body or {})
    return Vote(*said, created_at=ruling.created_at)


def _whole(ids: list[int]) -> dict[int, dict[str, Any]]:
    """What of each task no training row needs, but who brings it into another project does."""
    found: dict[int, dict[str, Any]] = {
        task: {"responses": [], "priority": priority, "gold": gold}
        for task, priority, gold in Task.objects.filter(pk__in=ids).values_list("pk", "priority", "gold")
    }
    columns = ("id", "text", "source", "params", "score")
    rows = Response.objects.filter(task__in=ids).order_by("task", "position").values_list("task", *columns)
    for task, *values in rows:
        found[task]["responses"].append(dict(zip(columns, values, strict=True)))
    return found


def has_all(metadata: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in wanted.items())
