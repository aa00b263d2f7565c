"""What labeling tools have in common: texts in named columns, and answers to named questions.

Both Label Studio and Argilla let a team name its columns and questions. The names decide: see `column_groups` and
`body_of`; an answer that has no place here is given back, so that it can be kept as metadata.
"""

from __future__ import annotations

import re
from typing import Any

from annotation.cleaning import CleaningError, kind_of
from annotation.models import Kind
from annotation.shapes.shape import Row, Target

PROMPTS = ("prompt", "chat", "conversation", "messages", "question", "instruction", "query", "input", "context", "text")
LISTS = ("responses", "items", "completions", "answers", "candidates")
SIDE = re.compile(r"(?:response|answer|output|completion|generation|candidate|text|reply)[ _-]?([a-z]|\d{1,2})")
SINGLE = ("response", "answer", "output", "completion", "generation", "reply")
TEXTS = ("text", "body", "html", "content", "title", "response", "value")
RATIONALES = ("rationale", "reason", "why", "comment", "explanation", "feedback")
FIRST, SECOND = ("left", "first", "a"), ("right", "second", "b")
# Under these names our own exports keep what other tools have no place for: of one judgement, and of each person's.
OURS, OURS_BY_PERSON = "hone", "hone_judgements"
IN_BODY, ABOUT = ("reasons", "turns", "highlights"), ("created_at", "seconds", "guideline_version")
NEITHER = {"tie": "tie", "same": "tie", "equal": "tie", "both_bad": "both_bad", "both bad": "both_bad"}


def conversation(columns: Row) -> tuple[Row, list[str]]:
    """The record's prompt and responses out of named columns, with the names that judgements call the responses by."""
    names, texts, used = _sides(columns)
    prompt = next((name for name in PROMPTS if name in columns and name not in used), None)
    if prompt is None:
        raise CleaningError("prompt", f"Is missing; the data has {', '.join(list(columns)[:12]) or 'no columns'}.")
    record: Row = {"prompt": columns[prompt]}
    if texts:
        record["responses"] = texts
    return record | {name: value for name, value in columns.items() if name not in {prompt, *used}}, names


def _sides(columns: Row) -> tuple[list[str], list[Any], set[str]]:
    for name in LISTS:
        if isinstance(listed := columns.get(name), list):
            return _ids(listed), [_item(item) for item in listed], {name}
    found = {}
    for name in columns:
        if match := SIDE.fullmatch(name.lower()):
            mark = match[1]
            found[int(mark) if mark.isdigit() else ord(mark) - 96] = name
    if len(found) > 1:
        ordered = [found[key] for key in sorted(found)]
        return ordered, [columns[name] for name in ordered], set(ordered)
    single = next((name for name in SINGLE if isinstance(columns.get(name), str)), None)
    return ([single], [columns[single]], {single}) if single else ([], [], set())


def _ids(listed: list[Any]) -> list[str]:
    return [str(item["id"]) if isinstance(item, dict) and "id" in item else str(i) for i, item in enumerate(listed)]


def _item(item: Any) -> Any:
    """A response as text, or with its source where the list keeps one."""
    if not isinstance(item, dict):
        return item
    text = next((item[name] for name in TEXTS if name in item), None)
    return {"text": text} | {name: item[name] for name in ("source", "score") if item.get(name) is not None}


def body_of(answers: dict[str, Any], names: list[str], target: Target) -> tuple[Row, dict[str, Any]]:
    """One person's answers as a body of this kind of project, and the answers that found no place in it.

    A question named like an aspect answers that one; `strength`, `flags`, `rationale` (or `comment`) and `improved` are
    what they say; whatever else names a side, orders the responses, rates or writes an answer is the judgement itself.
    Our own exports write `aspects.NAME`, `ratings.NAME` and, where a tool has no ranking, `ranking.a` with a place.
    """
    body: Row = {}
    left: dict[str, Any] = {}
    for name, answer in _gathered(answers).items():
        part = _shared(name, answer, target) or READERS[Kind(target.kind)](name, answer, names, target)
        for key, value in part.items():
            if isinstance(value, dict):
                body[key] = {**body.get(key, {}), **value}
            elif key in body:
                part = {}
            else:
                body[key] = value
        if not part:
            left[name] = answer
    return body, left


def kept_apart(given: Any) -> tuple[Row, Row]:
    """What one of our own exports keeps under OURS of a judgement: parts of its body, and facts about it."""
    known = given if isinstance(given, dict) else {}
    body, about = ({name: known[name] for name in names if name in known} for names in (IN_BODY, ABOUT))
    return body, about


def _gathered(answers: dict[str, Any]) -> dict[str, Any]:
    places, found = [], {}
    for name, answer in answers.items():
        if name.startswith("ranking.") and isinstance(answer, int):
            places.append({"value": name.removeprefix("ranking."), "rank": answer})
        else:
            found[name.removeprefix("aspects.").removeprefix("ratings.")] = answer
    return found | ({"ranking": places} if places else {})


def _shared(name: str, answer: Any, target: Target) -> Row:
    if name.lower() in RATIONALES and isinstance(answer, str):
        return {"rationale": answer}
    if name == "improved" and isinstance(answer, str):
        return {"improved": answer}
    if name == "flags":
        listed = answer if isinstance(answer, list) else [answer]
        return {"flags": listed} if set(map(str, listed)) <= set(target.flags) else {}
    return {}


def _preference(name: str, answer: Any, names: list[str], target: Target) -> Row:
    if name == "strength":
        number = int(answer) if str(answer).isdigit() else None
        return {} if number is None else {"strength": number}
    if isinstance(answer, list) and len(answer) == 2:
        places = _places(answer, names)
        if not places or len(names) != 2:
            return {}
        return {"choice": "ab"[places[0]] if isinstance(places[0], int) else "tie"}
    side = side_of(answer, names)
    if side is None:
        return {}
    word = "ab"[side] if isinstance(side, int) and side < 2 else side
    return {"aspects": {name: word}} if name in target.aspects else {"choice": word}


def _rating(name: str, answer: Any, names: list[str], target: Target) -> Row:
    number = int(answer) if isinstance(answer, int | str) and str(answer).isdigit() else None
    if number is None:
        return {}
    if name not in target.aspects and len(target.aspects) == 1:
        name = next(iter(target.aspects))
    return {"ratings": {name: number}} if name in target.aspects else {}


def _ranking(name: str, answer: Any, names: list[str], target: Target) -> Row:
    places = _places(answer, names) if isinstance(answer, list) else []
    return {"ranking": [place if isinstance(place, list) else [place] for place in places]} if places else {}


def _demonstration(name: str, answer: Any, names: list[str], target: Target) -> Row:
    return {"text": answer} if isinstance(answer, str) else {}


def _places(answer: list[Any], names: list[str]) -> list[Any]:
    """An order of responses as positions: from ids best first, ties as inner lists, or {"value", "rank"} pairs."""
    if all(isinstance(item, dict) and "value" in item and "rank" in item for item in answer):
        ranks = sorted({item["rank"] for item in answer})
        answer = [[item["value"] for item in answer if item["rank"] == rank] for rank in ranks]
    places = []
    for place in answer:
        tied = [side_of(item, names) for item in (place if isinstance(place, list) else [place])]
        if not tied or not all(isinstance(side, int) for side in tied):
            return []
        places.append(tied[0] if len(tied) == 1 else tied)
    return places


def side_of(word: Any, names: list[str]) -> int | str | None:
    """Which response a word stands for: its position, "tie" or "both_bad", or None when it is none of them."""
    said = str(word).strip().lower()
    if said in NEITHER:
        return NEITHER[said]
    place = _place(said, [name.lower() for name in names])
    return place if place is not None and place < len(names) else None


def _place(said: str, names: list[str]) -> int | None:
    if said in names:
        return names.index(said)
    for index, words in enumerate((FIRST, SECOND)):
        if said in words:
            return index
    if match := SIDE.fullmatch(said):
        said = match[1]
    if len(said) == 1 and "a" <= said <= "z":
        return ord(said) - 97
    return int(said) - 1 if said.isdecimal() and said != "0" else None


READERS = {
    Kind.PREFERENCE: _preference,
    Kind.RATING: _rating,
    Kind.RANKING: _ranking,
    Kind.DEMONSTRATION: _demonstration,
}


def checked_list(value: Any, field: str) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise CleaningError(field, f"Must be a list of objects, not {kind_of(value)}.")
    return value
