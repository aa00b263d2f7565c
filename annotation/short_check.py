"""The short way through an import's check, for records of an id and sound texts alone: nearly all of a large file.

It says nothing about what is wrong: a record that is anything else goes the long way (annotation.records), which names
the first bad field. What passes here comes out of the long way the same.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, permutations, repeat
from json.encoder import encode_basestring_ascii as as_text
from operator import contains, eq
from typing import Any, NamedTuple

from annotation.cleaning import MAX_TEXT, SURROGATE
from annotation.draws import lots_of

LONGEST_ID = 200  # characters
# The fields that such a record has, in every order: looked up whole, which is quicker than to compare sets.
LETTERED = {order for names in ("prompt response_a response_b", "id prompt response_a response_b")
            for order in permutations(names.split())}  # fmt: skip
LISTED = {order for names in ("prompt responses", "id prompt responses") for order in permutations(names.split())}
GIVEN, SWAPPED = (0, 1), (1, 0)
# What most records do not have, and what they get in its place.
PLAIN: dict[str, Any] = {
    "priority": 0, "gold": None, "qualification": False, "need": None, "assigned_to": [], "done": 0,
}  # fmt: skip


class Plain(NamedTuple):
    """Records of an id and sound texts alone, by columns: each has one message and `each` responses among `texts`.

    What follows from them is worked out here, where another process may do it: the prompts as JSON, the lots, and the
    order in which a record's responses are stored, any, so that the smaller id says nothing about where one came from.
    """

    ids: list[str]
    texts: list[str]
    places: list[int]  # of each text among those of its record, as they came
    each: int
    messages: list[str]
    lots: list[int]

    def records(self) -> Iterator[dict[str, Any]]:
        """The same, each by itself under Hone's names."""
        for place, (identifier, messages) in enumerate(zip(self.ids, self.messages, strict=True)):
            its = slice(place * self.each, (place + 1) * self.each)
            texts = dict(zip(self.places[its], self.texts[its], strict=True))
            prompt = json.loads(messages)[0]["content"]
            yield {"id": identifier, "prompt": prompt, "responses": [texts[at] for at in range(self.each)]}


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

    def columns_of(self, columns: dict[str, list[Any]]) -> Plain | None:
        """The same of many records with an id, if all of them are such; None where any must be looked at alone.

        It asks of whole columns what `fields_of` asks of each record, which takes a fifth of the time.
        """
        names = tuple(columns)
        if "id" not in columns:
            return None
        if names in LETTERED:
            each, texts = 2, list(chain.from_iterable(zip(columns["response_a"], columns["response_b"], strict=True)))
        elif names in LISTED and set(map(type, columns["responses"])) == {list}:
            sides = columns["responses"]
            each, texts = len(sides[0]), list(chain.from_iterable(sides))
            if set(map(len, sides)) != {each}:
                return None
        else:
            return None
        prompts, ids = columns["prompt"], columns["id"]
        if not each or not self.least <= each <= self.most:
            return None
        if not (_all_sound(prompts) and _all_sound(texts) and set(map(type, ids)) == {str}):
            return None
        if not all(prompts) or any(map(str.isspace, prompts)) or not all(map(is_identifier, ids)):
            return None
        if self.is_pair and any(map(eq, texts[::2], texts[1::2])):
            return None
        messages = [f'[{{"role": "user", "content": {as_text(prompt)}}}]' for prompt in prompts]
        return Plain(ids, *_shuffled(texts, each), each, messages, lots_of(ids))


def _shuffled(texts: list[str], each: int) -> tuple[list[str], list[int]]:
    """The texts of each record in any order, and the place at which each of them came."""
    if each == 2:  # most often
        places: list[int] = []
        for at, drawn in zip(range(0, len(texts), 2), random.randbytes(len(texts) // 2), strict=True):
            if drawn & 1:
                texts[at], texts[at + 1] = texts[at + 1], texts[at]
            places += SWAPPED if drawn & 1 else GIVEN
        return texts, places
    orders = [random.sample(range(each), each) for _ in range(0, len(texts), each)]
    moved = [texts[at * each + place] for at, order in enumerate(orders) for place in order]
    return moved, list(chain.from_iterable(orders))


def _all_sound(texts: list[Any]) -> bool:
    """are_sound of many texts, one question after the other."""
    if set(map(type, texts)) != {str} or max(map(len, texts)) > MAX_TEXT or any(map(contains, texts, repeat("\x00"))):
        return False
    return all(map(str.isascii, texts)) or are_sound(texts)


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
