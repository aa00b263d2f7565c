"""The short way through an import's check, for records of an id and sound texts alone: nearly all of a large file.

It says nothing about what is wrong: a record that is anything else goes the long way (annotation.records), which names
the first bad field. What passes here comes out of the long way the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from annotation.cleaning import MAX_TEXT, SURROGATE

LONGEST_ID = 200  # characters
# The fields that such a record has, in every order: looked up whole, which is quicker than to compare sets.
LETTERED = {order for names in ("prompt response_a response_b", "id prompt response_a response_b")
            for order in permutations(names.split())}  # fmt: skip
LISTED = {order for names in ("prompt responses", "id prompt responses") for order in permutations(names.split())}
# What most records do not have, and what they get in its place.
PLAIN: dict[str, Any] = {
    "priority": 0, "gold": None, "qualification": False, "need": None, "assigned_to": [], "done": 0,
}  # fmt: skip


@dataclass(frozen=True)
class ShortCheck:
    """For a project that takes `least` to `most` responses a prompt, in a pair two different ones."""

    least: int
    most: int
    is_pair: bool

    def fields_of(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """What records.Record keeps of it; None where the long way must look."""
        names = tuple(raw)
        if names in LETTERED:
            sides = [raw["response_a"], raw["response_b"]]
        elif names in LISTED and type(raw["responses"]) is list:
            sides = raw["responses"]
        else:
            return None
        prompt = raw["prompt"]
        if not self.least <= len(sides) <= self.most or not are_sound((prompt, *sides)):
            return None
        if not prompt or prompt.isspace() or (self.is_pair and sides[0] == sides[1]):
            return None
        messages = [{"role": "user", "content": prompt}]
        identifier = raw["id"] if "id" in raw else content_id(messages, sides, [])
        if type(identifier) is not str or not is_identifier(identifier):
            return None
        responses = [{"text": text, "source": ""} for text in sides]
        return {**PLAIN, "prompt": messages, "responses": responses, "metadata": {}, "id": identifier}


def are_sound(texts: Iterable[Any]) -> bool:
    """Whether cleaning.clean_text would take them."""
    for text in texts:
        if type(text) is not str or len(text) > MAX_TEXT or "\x00" in text:
            return False
        if not text.isascii() and SURROGATE.search(text):
            return False
    return True


def is_identifier(text: str) -> bool:
    """Printable text without spaces around it; lone surrogates and NUL are not printable."""
    return 0 < len(text) <= LONGEST_ID and text.isprintable() and text[0] != " " and text[-1] != " "


def content_id(prompt: list[Any], texts: list[str], said: list[str]) -> str:
    """The id of a record that brings none: the same content, the same id, so that importing again changes nothing."""
    parts = [prompt, texts, said]
    return "auto-" + hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()[:24]
