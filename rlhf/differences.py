"""What changed between two snapshots of one project: rows added, removed and changed, each with why."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as parquet
from django.utils.translation import gettext_noop

from annotation import withdrawals
from annotation.models import Annotation
from annotation.splitting import PARTS
from rlhf import contents, snapshot_files
from rlhf.models import Snapshot

EXAMPLES = 5  # rows shown of each sort of change
BATCH = 2000
GONE, JUDGED, RECIPE, SIDE, VOTES = (
    gettext_noop("no longer selected"),
    gettext_noop("judged since"),
    gettext_noop("selected by the newer recipe"),
    gettext_noop("on the other side of the split"),
    gettext_noop("its judgements changed"),
)
WITHDRAWN, EXCLUDED = gettext_noop("withdrawn since"), gettext_noop("by judges whom the newer recipe excludes")


@dataclass
class _Rows:
    """A few numbers for each row of a snapshot: what it is, what it says, its task, and where it stands."""

    keys: Any
    digests: Any
    tasks: Any
    parts: Any
    told: dict[str, Any]  # the manifest


def compare(older: Snapshot, newer: Snapshot) -> dict[str, Any]:
    """`{"from", "to", "same", "recipe": {key: [before, after]}, "added" | "removed" | "changed": {"rows", "why":
    {reason: rows}, "examples": [{"why", "part", "row"}]}}`.

    A row is the same when its prompt and its answers are, whichever of them won; it is changed when anything else of it
    is not the same.
    """
    import numpy as np

    before, after = _rows(older), _rows(newer)
    _, in_before, in_after = np.intersect1d(before.keys, after.keys, assume_unique=True, return_indices=True)
    moved = before.digests[in_before] != after.digests[in_after]
    removed = np.setdiff1d(np.arange(len(before.keys)), in_before, assume_unique=True)
    added = np.setdiff1d(np.arange(len(after.keys)), in_after, assume_unique=True)
    touched = _touched(older, newer)
    sides = before.parts[in_before[moved]] != after.parts[in_after[moved]]
    why_added = _why_added(older, before.told, after.tasks[added].tolist())
    reasons = _reasons(after.told)
    gone = before.tasks[removed].tolist()
    known = _why_gone(older, newer, {task for task in gone if task not in reasons})
    why_removed = [f"left out: {reasons[task]}" if task in reasons else known.get(task, GONE) for task in gone]
    why_changed = [
        VOTES if task in touched else SIDE if side else RECIPE
        for task, side in zip(after.tasks[in_after[moved]].tolist(), sides.tolist(), strict=True)
    ]
    return {
        "from": _about(older),
        "to": _about(newer),
        "same": len(in_before) - int(moved.sum()),
        "recipe": _recipe(older.recipe, newer.recipe),
        "added": _told(newer, after, added, why_added),
        "removed": _told(older, before, removed, why_removed),
        "changed": _told(newer, after, in_after[moved], why_changed),
    }


def _rows(snapshot: Snapshot) -> _Rows:
    import numpy as np

    told = snapshot_files.manifest(snapshot.folder)
    keys, digests, parts = array("Q"), array("Q"), array("b")
    seen: Counter[int] = Counter()
    for place, part in enumerate(PARTS):
        for row in _read(snapshot, part):
            key = _hash([row.get("prompt"), *_answers(row)])
            seen[key] += 1
            keys.append(key if seen[key] == 1 else _hash([key, seen[key]]))
            row.pop("task_id", None)
            digests.append(_hash([part, row]))
            parts.append(place)
    tasks = [task for part in PARTS for task in (told.get("rows") or {}).get(part, ())]
    tasks = tasks if len(tasks) == len(keys) else [0] * len(keys)
    return _Rows(np.array(keys), np.array(digests), np.array(tasks, dtype=np.int64), np.array(parts), told)


def _read(snapshot: Snapshot, part: str) -> Iterator[dict[str, Any]]:
    path = snapshot.folder / f"{part}.parquet"
    if path.is_file():
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                yield from batch.to_pylist()


def _answers(row: dict[str, Any]) -> list[str]:
    texts = [row[name][0]["content"] for name in ("chosen", "rejected", "completion") if name in row]
    return sorted([*texts, *row.get("responses", ())])


def _hash(value: Any) -> int:
    digest = hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _reasons(told: dict[str, Any]) -> dict[int, str]:
    if "by_task" not in told:
        left_out = told.get("tasks_left_out") or {}
        told["by_task"] = {task: reason for reason, tasks in left_out.items() for task in tasks}
    found: dict[int, str] = told["by_task"]
    return found


def _why_added(older: Snapshot, told: dict[str, Any], tasks: list[int]) -> list[str]:
    """Left out before, judged since, or there before and now wanted."""
    known = _reasons(told)
    asked = {task for task in tasks if task not in known}
    before: set[int] = set()
    for chunk in _chunks(asked):
        rows = Annotation.objects.filter(task__in=chunk, created_at__lte=older.created_at)
        before |= set(rows.values_list("task", flat=True))
    return [f"was left out: {known[task]}" if task in known else RECIPE if task in before else JUDGED for task in tasks]


def _why_gone(older: Snapshot, newer: Snapshot, tasks: set[int]) -> dict[int, str]:
    """Why the newer recipe selects no judgement of these tasks, where it is whose judgements they were."""
    between = older.project.withdrawals.filter(created_at__range=(older.created_at, newer.created_at))
    withdrawn = withdrawals.withdrawn_ids(older.project) if tasks and between.exists() else set()
    excluded = set(newer.recipe.get("exclude_annotators") or ()) - set(older.recipe.get("exclude_annotators") or ())
    left: dict[int, set[str]] = {}
    for chunk in _chunks(tasks) if withdrawn or excluded else ():
        rows = Annotation.objects.filter(task__in=chunk, created_at__lte=older.created_at)
        for task, pk, name in rows.values_list("task", "pk", "annotator__username"):
            left.setdefault(task, set()).update(() if pk in withdrawn else {name})
    return {task: EXCLUDED if names else WITHDRAWN for task, names in left.items() if names <= excluded}


def _touched(older: Snapshot, newer: Snapshot) -> set[int]:
    """The tasks whose judgements are not the same in both."""
    import numpy as np

    tasks: set[int] = set()
    for chunk in _chunks(np.setxor1d(contents.held(older), contents.held(newer)).tolist()):
        tasks |= set(Annotation.objects.filter(pk__in=chunk).values_list("task", flat=True))
    return tasks


def _chunks(items: Iterable[int]) -> Iterator[list[int]]:
    listed = list(items)
    return (listed[start : start + BATCH] for start in range(0, len(listed), BATCH))


def _told(snapshot: Snapshot, rows: _Rows, places: Any, why: list[str]) -> dict[str, Any]:
    first = dict(zip(places[:EXAMPLES].tolist(), why, strict=False))
    examples = [
        {"why": first[place], "part": part, "row": row} for place, part, row in _at(snapshot, rows, sorted(first))
    ]
    return {"rows": len(why), "why": dict(Counter(why).most_common()), "examples": examples}


def _at(snapshot: Snapshot, rows: _Rows, places: list[int]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The rows at these places, counted through all parts."""
    begin = 0
    for number, part in enumerate(PARTS):
        size = int((rows.parts == number).sum())
        wanted = [place - begin for place in places if begin <= place < begin + size]
        if wanted:
            table = parquet.read_table(snapshot.folder / f"{part}.parquet", memory_map=True).take(wanted)
            yield from ((place + begin, part, row) for place, row in zip(wanted, table.to_pylist(), strict=True))
        begin += size


def _recipe(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    keys = sorted(before.keys() | after.keys())
    return {key: [before.get(key), after.get(key)] for key in keys if before.get(key) != after.get(key)}


def _about(snapshot: Snapshot) -> dict[str, Any]:
    return {"id": snapshot.pk, "name": str(snapshot), "content_hash": snapshot.content_hash, "counts": snapshot.counts}
