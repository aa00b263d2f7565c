"""A project's judgements as the files of other labeling tools: Label Studio's JSON and Argilla's records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any
from uuid import UUID, uuid5

from annotation.judged import JudgedTask, Vote
from annotation.models import Kind, Project
from annotation.raw_rows import name_of
from annotation.shapes.answers import IN_BODY, OURS, OURS_BY_PERSON

PIECE = 500  # tasks
PEOPLE = UUID("5d0c1c0e-7a52-4a3f-9f6b-2f1f0d6c3a71")  # one name has one id in every export
Record = dict[str, Any]


def json_array(records: Iterable[Record]) -> Iterator[bytes]:
    """One JSON array, a few hundred records at a time."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    waiting, before = iter(records), "[\n"
    while piece := list(islice(waiting, PIECE)):
        yield (before + ",\n".join(encode(record) for record in piece)).encode()
        before = ",\n"
    yield b"\n]\n" if before != "[\n" else b"[]\n"


def label_studio(project: Project, tasks: Iterable[JudgedTask], *, names: bool) -> Iterator[bytes]:
    """Label Studio's export: tasks with their data, and each judgement as an annotation with its results."""
    return json_array(_label_studio_task(project, task, names) for task in tasks)


def argilla(project: Project, tasks: Iterable[JudgedTask], *, names: bool) -> Iterator[bytes]:
    """Argilla's records: fields, and each question's answers with who gave them."""
    return json_array(_argilla_record(project, task, names) for task in tasks)


def _label_studio_task(project: Project, task: JudgedTask, names: bool) -> Record:
    data: Record = {"prompt": task.prompt, **_lettered(task), "metadata": task.metadata}
    if task.external_id is not None:
        data["id"] = task.external_id
    annotations = [_label_studio_annotation(project, task, vote, names) for vote in task.given]
    return {"id": task.id, "data": data, "annotations": annotations, "predictions": []}


def _label_studio_annotation(project: Project, task: JudgedTask, vote: Vote, names: bool) -> Record:
    """A judgement as Label Studio takes it in: of who judged it knows its own members only, and refuses a file that
    names others; of an annotation it keeps the results as they are and the seconds, so all else goes with the first.
    """
    first, *others = _results(answers_of(project.kind, task, vote))
    who = {"annotator": name_of(project, vote, names=names), "created_at": vote.made_at}
    meta = _besides(task, vote, **who, guideline_version=vote.guideline)
    return {
        "id": vote.id,
        "created_at": vote.made_at,
        "lead_time": vote.seconds,
        "was_cancelled": False,
        "result": [first | {"meta": meta}, *others],
    }


def _argilla_record(project: Project, task: JudgedTask, names: bool) -> Record:
    given: dict[str, list[Record]] = {}
    ours: Record = {}
    for vote in task.given:
        # Argilla's own library takes these three of an answer and fails on any more, as on an id that is none of its
        # kind; metadata it keeps as they are.
        name = name_of(project, vote, names=names)
        about: Record = {"user_id": str(uuid5(PEOPLE, name)), "status": "submitted"}
        facts = {"annotator": name, "created_at": vote.made_at, "seconds": vote.seconds}
        ours[about["user_id"]] = _besides(task, vote, **facts, guideline_version=vote.guideline)[OURS]
        for question, (kind, value) in answers_of(project.kind, task, vote).items():
            if kind == "ranking":
                value = [{"value": letter, "rank": place} for letter, place in value.items()]
            given.setdefault(question, []).append({"value": value, **about})
    return {
        "id": task.external_id if task.external_id is not None else str(task.id),
        "fields": {"prompt": task.prompt, **_lettered(task)},
        "metadata": task.metadata | {OURS_BY_PERSON: ours},
        "suggestions": {},
        "responses": given,
        "vectors": {},
        "status": "completed",
    }


def _besides(task: JudgedTask, vote: Vote, **facts: Any) -> Record:
    """What of a judgement the other tool has no place for, as our own import of such a file reads it."""
    found = {name: fact for name, fact in facts.items() if fact is not None}
    found |= {name: vote.body[name] for name in IN_BODY if vote.body.get(name)}
    if "highlights" in found:
        place = {response: index for index, response in enumerate(task.responses)}
        found["highlights"] = [one | {"response": place[one["response"]]} for one in found["highlights"]]
    return {OURS: found} if found else {}


def answers_of(kind: str, task: JudgedTask, vote: Vote) -> dict[str, tuple[str, Any]]:
    """Each question's answer in terms of the letters a, b, … of the responses, with what kind of answer it is."""
    body = vote.body
    letters = {response: _letter(index) for index, response in enumerate(task.responses)}
    found: dict[str, tuple[str, Any]] = {}
    if kind == Kind.PREFERENCE:
        found["choice"] = ("label", letters.get(body["choice"], body["choice"]))
        found["strength"] = ("number", body.get("strength") or 0)
        for name, side in (body.get("aspects") or {}).items():
            found[f"aspects.{name}"] = ("label", letters.get(side, side))
    elif kind == Kind.RANKING:
        places = {letters[response]: place for place, tied in enumerate(body["ranking"], 1) for response in tied}
        found["ranking"] = ("ranking", dict(sorted(places.items())))
    elif kind == Kind.RATING:
        for name, score in body["ratings"].items():
            found[f"ratings.{name}"] = ("rating", score)
    else:
        found["text"] = ("text", body["text"])
    for name, how in (("improved", "text"), ("rationale", "text"), ("flags", "labels")):
        if body.get(name):
            found[name] = (how, body[name])
    # Where nothing has to be answered, it is still told that somebody judged, which goes with an answer.
    return found or {"rationale": ("text", "")}


def _results(answers: dict[str, tuple[str, Any]]) -> list[Record]:
    """Label Studio's results, each by the control that would have made it."""
    found = []
    for name, (kind, value) in answers.items():
        about = {"from_name": name, "to_name": "prompt"}
        if kind == "ranking":
            found += [
                {"from_name": f"{name}.{letter}", "to_name": f"response_{letter}", **_control("number", place)}
                for letter, place in value.items()
            ]
        elif name == "choice" and value in ("a", "b"):
            selected = {"a": "left", "b": "right"}[value]
            about["to_name"] = "response_a"
            found.append(about | {"type": "pairwise", "value": {"selected": selected}})
        elif name == "choice":  # one control has one type, and Pairwise knows two sides only
            found.append(about | {"from_name": "neither"} | _control(kind, value))
        else:
            found.append(about | _control(kind, value))
    return found


def _control(kind: str, value: Any) -> Record:
    controls: dict[str, Callable[[Any], Record]] = {
        "number": lambda number: {"type": "number", "value": {"number": number}},
        "rating": lambda stars: {"type": "rating", "value": {"rating": stars}},
        "text": lambda text: {"type": "textarea", "value": {"text": [text]}},
        "label": lambda label: {"type": "choices", "value": {"choices": [label]}},
        "labels": lambda labels: {"type": "choices", "value": {"choices": labels}},
    }
    return controls[kind](value)


def _lettered(task: JudgedTask) -> dict[str, str]:
    """The responses under the names that an import knows: `response`, or `response_a`, `response_b`, …"""
    if len(task.responses) == 1:
        return {"response": next(iter(task.responses.values()))}
    return {f"response_{_letter(index)}": text for index, text in enumerate(task.responses.values())}


def _letter(index: int) -> str:
    return chr(ord("a") + index)
