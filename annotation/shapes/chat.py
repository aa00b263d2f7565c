"""Whole conversations: OpenAI's chat lines and ShareGPT's. What comes before the last answer is the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, clean_text, kind_of
from annotation.shapes.shape import Messages, Row, Shape, Target, without

ROLES = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}


def split(messages: Messages, field: str) -> tuple[Messages, str | None]:
    """The prompt, and the last answer when the conversation ends with one."""
    if not messages:
        raise CleaningError(field, "Holds no turn.")
    if messages[-1]["role"] != "assistant":
        return messages, None
    if len(messages) == 1:
        raise CleaningError(field, "Is an answer to nothing: an earlier turn of a person is missing.")
    return messages[:-1], messages[-1]["content"]


def _sharegpt_records(row: Row, target: Target) -> Iterator[Row]:
    messages = list(_turns(row.get("conversations"), "conversations", "from", "value"))
    if row.get("system"):
        messages.insert(0, {"role": "system", "content": clean_text(row["system"], "system")})
    yield _record(row, messages, "conversations", "system")


def _message_records(row: Row, target: Target) -> Iterator[Row]:
    messages = list(_turns(row.get("messages"), "messages", "role", "content"))
    yield _record(row, messages, "messages")


def _record(row: Row, messages: Messages, field: str, *used: str) -> Row:
    prompt, answer = split(messages, field)
    said = {} if answer is None else {"completion": answer}
    return {"prompt": prompt} | said | dict(without(row, field, *used))


def _turns(value: Any, field: str, who: str, what: str) -> Iterator[Row]:
    if not isinstance(value, list):
        raise CleaningError(field, f"Must be a list of turns, not {kind_of(value)}.")
    for index, turn in enumerate(value):
        place = f"{field}[{index}]"
        if not isinstance(turn, dict):
            raise CleaningError(place, f'Must be {{"{who}": "…", "{what}": "…"}}, not {kind_of(turn)}.')
        role = turn.get(who)
        if not isinstance(role, str) or role.lower() not in ROLES:
            said = role if isinstance(role, str) else kind_of(role)
            raise CleaningError(
                f"{place}.{who}", f"Is {said[:40]!r}, a role that is not known here; use system, user or assistant."
            )
        yield {"role": ROLES[role.lower()], "content": _text(turn.get(what), f"{place}.{what}")}


def _text(value: Any, place: str) -> str:
    """A turn's text, also when it comes in OpenAI's list of text parts."""
    if isinstance(value, list):
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise CleaningError(place, "Holds something else than text parts; only text can be judged here.")
        value = "".join(clean_text(part.get("text"), place) for part in value)
    return clean_text(value, place)


def _is_sharegpt(row: Row) -> bool:
    turns = row.get("conversations")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "from" in turns[0]


def _is_messages(row: Row) -> bool:
    return isinstance(row.get("messages"), list) and not row.keys() & {"prompt", "chosen", "responses", "completion"}


SHAREGPT = Shape("sharegpt", gettext_noop("ShareGPT conversations"), _is_sharegpt, _sharegpt_records)
MESSAGES = Shape("messages", gettext_noop("Chat messages"), _is_messages, _message_records)
