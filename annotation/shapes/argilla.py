"""Argilla's records, of versions 2 (as to_json writes them) and 1: `fields`, and responses to named questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, kind_of
from annotation.shapes.answers import OURS_BY_PERSON, body_of, checked_list, conversation, kept_apart
from annotation.shapes.shape import Row, Shape, Target, without

USED = ("id", "external_id", "fields", "responses", "suggestions", "metadata", "vectors", "_server_id", "status",
        "inserted_at", "updated_at")  # fmt: skip


def _recognises(row: Row) -> bool:
    return isinstance(row.get("fields"), dict) and bool(row.keys() & {"responses", "suggestions", "vectors"})


def _records(row: Row, target: Target) -> Iterator[Row]:
    fields = row.get("fields")
    if not isinstance(fields, dict):
        raise CleaningError("fields", f"Must be an object with the record's texts, not {kind_of(fields)}.")
    record, names = conversation({name: value for name, value in fields.items() if value is not None})
    identifier = row.get("external_id") or row.get("id")
    if identifier is not None:
        record["id"] = identifier
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise CleaningError("metadata", f"Must be an object, not {kind_of(metadata)}.")
    ours: Any = metadata.get(OURS_BY_PERSON)
    judged, left = [], {}
    for person, (answers, times) in _by_person(row.get("responses")).items():
        known = ours.get(person) if isinstance(ours, dict) else None
        own = known.get("annotator") if isinstance(known, dict) else None
        name = own if isinstance(own, str) and own else person
        body, rest = body_of(answers, names, target)
        if not body:
            raise CleaningError("responses", f"{name} gave no answer that a {target.kind} project can take.")
        if rest:
            left[name] = rest
        beside, about = kept_apart(known)
        judged.append({"annotator": name, "body": body | beside, **times, **about})
    kept = {"suggestions": row.get("suggestions"), "other_answers": left}
    record["metadata"] = dict(without(metadata, OURS_BY_PERSON)) | {
        name: value for name, value in kept.items() if value
    }
    if judged:
        record["annotations"] = judged
    yield record | dict(without(row, *USED))


def _by_person(responses: Any) -> dict[str, tuple[dict[str, Any], Row]]:
    """{annotator: ({question: answer}, times)} from either version's responses, without drafts and discarded ones."""
    found: dict[str, tuple[dict[str, Any], Row]] = {}
    for item, answers in _given(responses):
        if item.get("status") in ("draft", "discarded"):
            continue
        times = {"created_at": item["inserted_at"]} if isinstance(item.get("inserted_at"), str) else {}
        known, _ = found.setdefault(_name(item), ({}, times))
        known |= {question: _plain(answer) for question, answer in answers.items()}
    return found


def _given(responses: Any) -> Iterator[tuple[Row, dict[str, Any]]]:
    if isinstance(responses, dict):  # version 2: by question
        for question, listed in responses.items():
            for item in checked_list(listed, f"responses.{question}"):
                yield item, {question: item.get("value")}
        return
    for item in checked_list(responses or [], "responses"):  # version 1: by person
        values = item.get("values")
        if isinstance(values, dict):
            yield (
                item,
                {name: value.get("value") if isinstance(value, dict) else value for name, value in values.items()},
            )


def _name(item: Row) -> str:
    return str(item.get("user_id") or item.get("username") or "argilla")


def _plain(value: Any) -> Any:
    """A label asked as a list of one is that label; a ranking stays a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else value


SHAPE = Shape("argilla", gettext_noop("Argilla records"), _recognises, _records)
