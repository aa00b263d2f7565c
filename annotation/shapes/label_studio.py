"""Label Studio's JSON exports: tasks with `data`, and annotations that compare, rate, rank, choose or write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, kind_of
from annotation.shapes.answers import OURS, body_of, checked_list, conversation, kept_apart
from annotation.shapes.shape import Row, Shape, Target

JUDGED = ("annotations", "completions")  # the second is what early versions wrote
# What Label Studio knows of a task beside its data: its own bookkeeping, which means nothing here.
BOOKKEEPING = {
    "id", "data", "annotations", "completions", "predictions", "drafts", "meta", "created_at", "updated_at", "inner_id",
    "total_annotations", "cancelled_annotations", "total_predictions", "comment_count", "unresolved_comment_count",
    "last_comment_updated_at", "project", "updated_by", "comment_authors", "file_upload", "is_labeled", "overlap",
    "draft_exists", "state", "allow_skip", "precomputed_agreement",
}  # fmt: skip


def _recognises(row: Row) -> bool:
    if not isinstance(row.get("data"), dict):
        return False
    return bool(row.keys() & {*JUDGED, "predictions"}) or row.keys() <= BOOKKEEPING


def _records(row: Row, target: Target) -> Iterator[Row]:
    data = row.get("data")
    if not isinstance(data, dict):
        raise CleaningError("data", f"Must be an object with the task's texts, not {kind_of(data)}.")
    record, names = conversation(data)
    own = next((record.pop(name) for name in ("id", "external_id") if name in record), None)
    identifier = own if own is not None else row.get("id")
    if identifier is not None:
        record["id"] = identifier
    record |= {name: value for name, value in row.items() if name not in BOOKKEEPING}
    if isinstance(meta := row.get("meta"), dict) and meta:
        given = record.get("metadata")
        record["metadata"] = {**meta, **(given if isinstance(given, dict) else {})}
    listed: Any = next((row[name] for name in JUDGED if row.get(name)), [])
    judged, left = [], {}
    for index, item in enumerate(checked_list(listed, "annotations")):
        if item.get("was_cancelled"):
            continue
        place = f"annotations[{index}]"
        ours = _ours(item.get("result"))
        name = _annotator(ours.get("annotator") or item.get("completed_by"))
        body, rest = body_of(_answers(item.get("result"), f"{place}.result"), names, target)
        if not body:
            raise CleaningError(f"{place}.result", f"Holds no answer that a {target.kind} project can take.")
        if rest:
            left[name] = rest
        more, about = kept_apart(ours)
        judged.append({"annotator": name, "body": body | more, **_times(item), **about})
    if judged:
        record["annotations"] = judged
    if left:
        record["other_answers"] = left
    yield record


def _ours(results: Any) -> Row:
    """What our own export keeps in the first result's `meta`, where Label Studio leaves it as it is."""
    first = results[0] if isinstance(results, list) and results else None
    meta = first.get("meta") if isinstance(first, dict) else None
    ours = meta.get(OURS) if isinstance(meta, dict) else None
    return ours if isinstance(ours, dict) else {}


def _annotator(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("username") or value.get("id")
    if value is None or value == "":
        return "label-studio"
    return value if isinstance(value, str) else f"label-studio-{value}"


def _times(item: Row) -> Row:
    found = {"created_at": item.get("created_at"), "seconds": item.get("lead_time")}
    return {name: value for name, value in found.items() if value is not None}


def _answers(results: Any, place: str) -> dict[str, Any]:
    """{from_name: value} in plain terms: a side, a number, a text, a list of ids."""
    found: dict[str, Any] = {}
    for index, result in enumerate(checked_list(results, place)):
        value, kind = result.get("value"), result.get("type")
        if not isinstance(value, dict) or not isinstance(kind, str):
            raise CleaningError(f"{place}[{index}]", "Must have a type and a value.")
        answer = _plain(value, kind)
        if answer is not None:
            found[str(result.get("from_name") or kind)] = answer
    return found


def _plain(value: Row, kind: str) -> Any:
    if kind == "pairwise":
        return value.get("selected")
    if kind == "ranker":
        ranked = value.get("ranker", value.get("items"))
        if isinstance(ranked, dict):  # buckets: the first that holds something is the order, "_" is what was not placed
            ranked = next((ids for bucket, ids in ranked.items() if bucket != "_" and ids), ranked.get("_"))
        return ranked
    answer = value.get(kind, value.get("text"))
    if kind == "textarea" and isinstance(answer, list):
        return "\n\n".join(map(str, answer))
    if kind == "choices" and isinstance(answer, list) and len(answer) == 1:
        return answer[0]
    return answer


SHAPE = Shape("label-studio", gettext_noop("Label Studio export"), _recognises, _records)
