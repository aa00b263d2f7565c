"""Hone's own raw rows with extras: one a judgement, those of one task together, and with each the task it is about."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, kind_of, strict_json
from annotation.reading import Read
from annotation.shapes.shape import Row, Shape

NEEDED = ("annotation_id", "task_id", "annotator", "body", "prompt")
TASK = ("prompt", "metadata", "priority", "gold")
JUDGEMENT = ("annotator", "created_at", "seconds", "status", "guideline_version")


def gathered(rows: Read) -> Read:
    """One record for each task, at the line of its first row; a broken row gives its error and leaves the others."""
    for _, together in groupby(rows, key=lambda item: _task(item[1])):
        first, *others = together
        if isinstance(first[1], CleaningError):
            yield first
            yield from others
            continue
        try:
            yield first[0], _record([row for _, row in (first, *others) if isinstance(row, dict)])
        except CleaningError as error:
            yield first[0], error


def _task(row: Row | CleaningError) -> Any:
    return None if isinstance(row, CleaningError) else str(row.get("task_id"))


def _record(rows: list[Row]) -> Row:
    task = rows[0]
    responses = _parsed(task.get("responses") or [], "responses", list)
    ids = [response.pop("id", None) if isinstance(response, dict) else None for response in responses]
    external = task.get("external_id")
    record = {"id": str(task["task_id"]) if external is None else external, "responses": responses}
    record |= {name: task[name] for name in TASK if task.get(name) is not None}
    record["annotations"] = [_judgement(row, ids) for row in rows]
    return record


def _judgement(row: Row, ids: list[Any]) -> Row:
    """A judgement whose body names responses by their place instead of by the ids of the project it comes from."""
    body = dict(_parsed(row.get("body"), "body", dict))
    place = {response: index for index, response in enumerate(ids)}
    letter = {response: chr(97 + index) for response, index in place.items()}
    if "choice" in body:
        body["choice"] = letter.get(body["choice"], body["choice"])
    if isinstance(body.get("aspects"), dict):
        body["aspects"] = {name: letter.get(side, side) for name, side in body["aspects"].items()}
    if isinstance(body.get("ranking"), list):
        body["ranking"] = [[place.get(one, one) for one in tied] for tied in body["ranking"]]
    if isinstance(body.get("highlights"), list):
        body["highlights"] = [
            one | {"response": place.get(one.get("response"), one.get("response"))} if isinstance(one, dict) else one
            for one in body["highlights"]
        ]
    found = {name: row[name] for name in JUDGEMENT if row.get(name) not in (None, "")}
    if isinstance(found.get("seconds"), str):
        found["seconds"] = _seconds(found["seconds"])
    return found | {"body": body}


def _parsed(value: Any, field: str, kind: type) -> Any:
    """A list or object, or the JSON text that a cell keeps it as."""
    if isinstance(value, str):
        value = strict_json(value)
    if not isinstance(value, kind):
        raise CleaningError(field, f"Must be {'a list' if kind is list else 'an object'}, not {kind_of(value)}.")
    return value


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CleaningError("seconds", "Must be a number of seconds.") from None


SHAPE = Shape(
    "hone-raw",
    gettext_noop("Hone's raw rows"),
    lambda row: all(name in row for name in NEEDED),
    lambda row, target: (row,),
)
