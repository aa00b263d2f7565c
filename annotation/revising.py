"""What `--update` changes in tasks that are there already, and what it refuses to."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TextIO, cast

from annotation import bulk, judgement_rows, tasks
from annotation.cleaning import CleaningError
from annotation.judgement_rows import NewRow, Origin
from annotation.models import Annotation, Response, Task
from annotation.records import Judgement, Record

TEXTS = ("prompt", "responses")
SETTINGS = ("metadata", "priority", "gold")
BATCH = 500  # tasks judged together


@dataclass
class Change:
    """What one record changes in its task."""

    task: int
    project: int
    values: dict[str, Any] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)


class Changes:
    """Changes that wait for the end of an import, on disk: an update of a million tasks must not fill the memory."""

    def __init__(self) -> None:
        self.spool: TextIO | None = None

    def add(self, change: Change) -> None:
        if self.spool is None:
            self.spool = cast(TextIO, tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115
        self.spool.write(json.dumps(asdict(change), default=datetime.isoformat) + "\n")

    def batches(self) -> Iterator[list[Change]]:
        if self.spool is None:
            return
        self.spool.seek(0)
        while lines := list(islice(self.spool, BATCH)):
            yield [_change(json.loads(line)) for line in lines]

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


def _change(stored: dict[str, Any]) -> Change:
    judgements = [
        Judgement(**one | {"created_at": one["created_at"] and datetime.fromisoformat(one["created_at"])})
        for one in stored.pop("judgements")
    ]
    return Change(**stored, judgements=judgements)


def changes(found: list[tuple[int, Record, Task]]) -> list[tuple[int, Change | CleaningError]]:
    """What each record would change in its task, or why it may not, with its line; what changes nothing is left out."""
    ids = [task.pk for _, _, task in found]
    stored: dict[int, list[dict[str, Any]]] = {task: [] for task in ids}
    for row in Response.objects.filter(task__in=ids).order_by("position"):
        stored[row.task_id].append({"text": row.text, "source": row.source, "params": row.params, "score": row.score})
    begun = set(Task.objects.filter(pk__in=ids).exclude(assignments=None).values_list("pk", flat=True))
    bodies, positions = _standing_bodies(ids), judgement_rows.response_ids(ids)
    result: list[tuple[int, Change | CleaningError]] = []
    for line, record, task in found:
        values = _differences(record, task, stored[task.pk])
        news = [one for one in record.judgements if _is_news(one, bodies.get(task.pk, {}), positions[task.pk])]
        text = next((name for name in TEXTS if name in values), None)
        if text and (task.pk in begun or task.done):
            result.append(
                (line, CleaningError(text, "Differs from what is stored and people have judged; give it a new id."))
            )
        elif values or news:
            result.append((line, Change(task.pk, task.project_id, values, news)))
    return result


def apply(waiting: Changes, origin: Origin, kind: str) -> None:
    """Carry the changes out; the caller holds the transaction."""
    for batch in waiting.batches():
        _set(batch)
        if judged := [change for change in batch if change.judgements]:
            _judge(judged, origin, kind)


def _differences(record: Record, task: Task, responses: list[dict[str, Any]]) -> dict[str, Any]:
    """The given fields whose value is another than the stored one."""
    given = record.fields
    wanted = [{"source": "", "params": {}, "score": None} | response for response in given["responses"]]
    new = {name: given[name] for name in ("prompt", *SETTINGS) if given[name] != getattr(task, name)}
    return new | ({"responses": wanted} if wanted != responses else {})


def _standing_bodies(ids: list[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    rows = Annotation.objects.standing().filter(task__in=ids)
    for task, name, body in rows.values_list("task", "annotator__username", "body"):
        found.setdefault(task, {})[name] = body
    return found


def _is_news(judgement: Judgement, standing: dict[str, Any], ids: list[int]) -> bool:
    if judgement.status != Annotation.Status.SUBMITTED:
        return judgement.annotator not in standing
    return standing.get(judgement.annotator) != judgement_rows.with_ids(judgement.body, ids)


def _set(batch: list[Change]) -> None:
    """The new values, one statement for all tasks that change the same fields."""
    rows: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for change in batch:
        columns = {name: value for name, value in change.values.items() if name not in ("responses", "gold")}
        if columns:
            rows[tuple(columns)].append((*columns.values(), change.task))
    for names, values in rows.items():
        bulk.update(Task, names, values)
    renewed = {change.task: change.values["responses"] for change in batch if "responses" in change.values}
    Response.objects.filter(task__in=renewed).delete()
    for task, responses in renewed.items():
        tasks.add_responses(task, responses)
    _mark_gold({change.task: change.values for change in batch})


def _mark_gold(changed: dict[int, dict[str, Any]]) -> None:
    """The known answers of tasks that got another one, or whose responses have new ids."""
    touched = [task for task, values in changed.items() if values.keys() & {"gold", "responses"}]
    for task in Task.objects.filter(pk__in=touched).select_related("project"):
        values = changed[task.pk]
        if "gold" in values or task.is_gold:
            tasks.mark_gold(task, values.get("gold", task.gold))


def _judge(batch: list[Change], origin: Origin, kind: str) -> None:
    """Add each judgement as its annotator's next revision; what stood before is replaced."""
    tasks_judged = [change.task for change in batch]
    ids = judgement_rows.response_ids(tasks_judged)
    revisions: dict[tuple[int, int], int] = defaultdict(int)
    standing: dict[tuple[int, int], int] = {}
    earlier = Annotation.objects.filter(task__in=tasks_judged).values_list("task", "annotator", "pk", "status")
    for task, annotator, pk, status in earlier:
        revisions[task, annotator] += 1
        if status == Annotation.Status.SUBMITTED:
            standing[task, annotator] = pk
    added: list[NewRow] = []  # those that close a slot
    instead: list[NewRow] = []  # those whose slot an earlier revision has closed
    replaced: list[int] = []
    for change in batch:
        for judgement in change.judgements:
            seat = change.task, origin.account(judgement.annotator)
            revisions[seat] += 1
            row = judgement_rows.new_row(
                change.project, seat[0], kind, judgement, origin, ids[seat[0]], revisions[seat]
            )
            stands = judgement.status == Annotation.Status.SUBMITTED and seat in standing
            if stands:
                replaced.append(standing[seat])
            (instead if stands else added).append(row)
    Annotation.objects.filter(pk__in=replaced).update(status=Annotation.Status.REPLACED)
    judgement_rows.store(added + instead)
    judgement_rows.close_slots(added)
