"""What each field of a file becomes: guessed from its name, or said by whoever imports it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext, gettext_noop

from annotation.cleaning import CleaningError, clean_text, kind_of
from annotation.reading.tables import cell_value

LEAVE_OUT, TAG = "leave_out", "tag"
NUMBERED = re.compile(r"(response|source)_(\d{1,2})")
LETTERED = {"response_a": "response_1", "response_b": "response_2", "source_a": "source_1", "source_b": "source_2"}
PLACE = re.compile(r"(\w+)(.*)")
MOST_RESPONSES = 26
# What a field may become, with the words of the page.
TARGETS: dict[str, str] = {
    "prompt": gettext_noop("Prompt"),
    "history": gettext_noop("Conversation, earlier turns"),
    "system": gettext_noop("System message"),
    **{f"response_{n}": gettext_noop("Response %(number)s") for n in range(1, 9)},
    **{f"source_{n}": gettext_noop("Source of response %(number)s, hidden") for n in range(1, 9)},
    "responses": gettext_noop("List of responses"),
    "chosen": gettext_noop("Preferred response"),
    "rejected": gettext_noop("Other response"),
    "completion": gettext_noop("Answer"),
    "id": gettext_noop("Key, stops double import"),
    "priority": gettext_noop("Priority"),
    "gold": gettext_noop("Expected judgment, hidden"),
    "need": gettext_noop("Judgments wanted"),
    "annotations": gettext_noop("Judgments that come along"),
    "metadata": gettext_noop("Tags, an object of them"),
    TAG: gettext_noop("Tag"),
    LEAVE_OUT: gettext_noop("Leave out"),
}
OWN = {name for name in TARGETS if not NUMBERED.fullmatch(name)} - {TAG, LEAVE_OUT, "history", "system"}
GUESSES = {
    "prompt": ("question", "instruction", "query", "user_prompt", "user_input", "user_query", "input"),
    "id": ("external_id", "uid", "uuid", "key"),
    "completion": ("answer", "output", "response", "reply", "generation"),
}
SIDE = re.compile(r"(?:response|answer|output|completion|generation|candidate|reply)[ _-]?([a-h]|[1-8])")
SOURCE = re.compile(r"(?:model|source|generator)[ _-]?([a-h]|[1-8])")
SIDES_TAKEN = {"responses", "chosen", "rejected", "completion"}


def in_words(target: str) -> str:
    """What a field becomes, as the page says it."""
    numbered = NUMBERED.fullmatch(target)
    return gettext(TARGETS[target]) % ({"number": numbered[2]} if numbered else {})


@dataclass(frozen=True)
class Mapping:
    """{field of the file: what it becomes}; a field that is not named keeps its own name."""

    becomes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> Mapping:
        """The mapping that a form, a query or a command says, checked."""
        if not isinstance(given, dict):
            raise CleaningError("mapping", f"Must be an object of fields and what they become, not {kind_of(given)}.")
        found: dict[str, str] = {}
        for name, becomes in given.items():
            target = LETTERED.get(becomes, becomes) if isinstance(becomes, str) else ""
            numbered = NUMBERED.fullmatch(target)
            if not (target in TARGETS or (numbered and 1 <= int(numbered[2]) <= MOST_RESPONSES)):
                raise CleaningError(f"mapping.{name}", f"{becomes!r} is nothing that a field can become.")
            if target not in (TAG, LEAVE_OUT) and target in found.values():
                raise CleaningError(f"mapping.{name}", f"Another field becomes {target} already.")
            found[clean_text(name, "mapping", limit=1000)] = target
        return cls(found)

    def __bool__(self) -> bool:
        return any(name != target for name, target in self.becomes.items())

    def apply(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row under Hone's names: numbered responses in a list, earlier turns before the prompt, tags together."""
        record: dict[str, Any] = {}
        parts: dict[str, dict[int, Any]] = {"response": {}, "source": {}}
        turns, tags = {}, {}
        for name, value in row.items():
            target = self.becomes.get(name)
            if target is None:
                record[name] = value
            elif target == TAG:
                tags[name] = value
            elif numbered := NUMBERED.fullmatch(target):
                parts[numbered[1]][int(numbered[2])] = value
            elif target in ("history", "system"):
                turns[target] = value
            elif target != LEAVE_OUT:
                record[target] = cell_value(target, value) if isinstance(value, str) else value
        if parts["response"]:
            record["responses"] = _responses(parts["response"], parts["source"])
        if turns:
            record["prompt"] = _conversation(turns, record.get("prompt"))
        if tags and isinstance(own := record.get("metadata") or {}, dict):
            record["metadata"] = {**tags, **own}
        return record

    def in_file(self, place: str) -> str:
        """A place in a record under the name that its field has in the file."""
        target, rest = (found[1], found[2]) if (found := PLACE.match(place)) else (place, "")
        if target == "responses" and (index := re.match(r"\[(\d+)\](?:\.text)?", rest)):
            target, rest = f"response_{int(index[1]) + 1}", rest[index.end() :]
        name = next((name for name, becomes in self.becomes.items() if becomes == target), None)
        return place if name is None else name + rest


def guess(columns: Iterable[str]) -> dict[str, str]:
    """What fields without a name of ours seem to be; nothing that is there already is guessed twice."""
    names = list(columns)
    taken = OWN & set(names)
    found = _sides(names) if not taken & SIDES_TAKEN else {}
    answered = bool(found or taken & SIDES_TAKEN or {"response_a", "response_b"} & set(names))
    for target, likely in GUESSES.items():
        if target in taken or (target == "completion" and answered):
            continue
        if known := next((name for name in likely if name in names and name not in found), None):
            found[known] = target
    if "prompt" in found.values() or "prompt" in taken:
        earlier = (("history", "history"), ("system", "system"), ("system_prompt", "system"))
        for name, target in earlier:
            if name in names and target not in found.values():
                found[name] = target
    return found


def _sides(names: list[str]) -> dict[str, str]:
    """Numbered or lettered responses, and their sources when each belongs to one of them."""
    sides = {name: _number(match[1]) for name in names if (match := SIDE.fullmatch(name.lower()))}
    sources = {name: _number(match[1]) for name in names if (match := SOURCE.fullmatch(name.lower()))}
    numbers = set(sides.values())
    if len(sides) < 2 or len(numbers) < len(sides):
        return {}
    if not set(sources.values()) <= numbers or len(set(sources.values())) < len(sources):
        sources = {}
    if not sources and set(sides) == {"response_a", "response_b"}:
        return {}  # names of ours
    return {name: f"response_{number}" for name, number in sides.items()} | {
        name: f"source_{number}" for name, number in sources.items()
    }


def _number(mark: str) -> int:
    return int(mark) if mark.isdigit() else ord(mark.lower()) - 96


def _responses(texts: dict[int, Any], sources: dict[int, Any]) -> list[Any]:
    """Responses in order of their numbers; an absent one stays null, so that the record says what is missing."""
    last = max(texts)
    return [
        {"text": texts.get(n), "source": sources[n]} if sources.get(n) else texts.get(n) for n in range(1, last + 1)
    ]


def _conversation(turns: dict[str, Any], prompt: Any) -> Any:
    """Messages: the system's, the earlier turns, then the prompt."""
    messages: list[Any] = []
    if turns.get("system"):
        messages.append({"role": "system", "content": turns["system"]})
    history = turns.get("history") or []
    if not isinstance(history, list):
        raise CleaningError("history", f"Must be a list of messages or of texts, not {kind_of(history)}.")
    for index, turn in enumerate(history):
        role = "user" if (len(history) - index) % 2 == 0 else "assistant"  # the last one before the prompt answers
        messages.append({"role": role, "content": turn} if isinstance(turn, str) else turn)
    if not messages:
        return prompt
    return [*messages, *(prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}])]
