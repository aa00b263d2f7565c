"""Numbers that say nothing: what annotators are told in place of the ids of tasks, responses and judgements.

Ids are given in order, so that one which does not follow the others would tell a hidden check from the work around it.
A sealed number is a permutation of the id that only the server's secret undoes: nothing is stored, asked or counted for
it, the same task has the same number for everybody, and hardly any number that somebody might try is one.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from django.conf import settings

from annotation.models import Project, Role

HALF = 26  # bits, of which two and the leading one stay within what JavaScript keeps exactly
LEAST = 1 << 2 * HALF  # sealed numbers begin here; no id is ever that large
SALT = 11  # bits beside the id: the same row under more than one number
MOST = 1 << 2 * HALF - SALT  # ids stay below
ROUNDS = 6
MASK = (1 << HALF) - 1


class Of(StrEnum):
    """What a number is of; the same id of two kinds has two numbers."""

    TASK = "task"
    RESPONSE = "response"
    ANNOTATION = "annotation"


def seal(of: Of, pk: int, *, salt: int = 0) -> int:
    """The number that stands for the id `pk`; another one for each `salt` below 2048."""
    if not 0 <= pk < MOST:
        return pk  # what somebody wrote into a draft need be no id
    value = pk << SALT | salt
    left, right, key = value >> HALF, value & MASK, _key(settings.SECRET_KEY, of)
    for turn in range(ROUNDS):
        left, right = right, left ^ _mixed(key, turn, right)
    return LEAST | left << HALF | right


def plain(of: Of, number: int) -> int:
    """The id that a sealed number stands for; any other number is given back."""
    return _opened(of, number) >> SALT if is_sealed(number) else number


def salt_of(of: Of, number: int) -> int:
    """The salt that a sealed number was made with; 0 for any other number."""
    return _opened(of, number) & (1 << SALT) - 1 if is_sealed(number) else 0


def _opened(of: Of, number: int) -> int:
    value, key = number - LEAST, _key(settings.SECRET_KEY, of)
    left, right = value >> HALF, value & MASK
    for turn in reversed(range(ROUNDS)):
        left, right = right ^ _mixed(key, turn, left), left
    return left << HALF | right


def is_sealed(number: int) -> bool:
    return LEAST <= number < 2 * LEAST


def needed(project: Project) -> bool:
    """Whether ids would tell something here: checks are mixed into the work, gold or what one judged before."""
    return project.gold_share > 0 or project.repeat_share > 0


def takes(project: Project, number: int) -> bool:
    """Whether the person of `project.my_role` may use this number: ids are for leads where checks are mixed in."""
    return is_sealed(number) or project.my_role != Role.ANNOTATOR or not needed(project)


def response_of(project: Project) -> Callable[[int], int]:
    """What makes response ids of the numbers that this person sends; 0, which is none, of those they may not use."""
    return lambda number: plain(Of.RESPONSE, number) if takes(project, number) else 0


def sealed_response(salt: int) -> Callable[[int], int]:
    """What makes numbers of response ids; a repeat has another salt than the first time."""
    return lambda pk: seal(Of.RESPONSE, pk, salt=salt)


def renumbered(body: Any, number: Callable[[int], int]) -> Any:
    """A body or draft with `number` of each response that it names; whatever else is in it stays as it is."""
    if not isinstance(body, dict):
        return body

    def told(value: Any) -> Any:
        return number(value) if type(value) is int else value

    changed = dict(body)
    if "choice" in body:
        changed["choice"] = told(body["choice"])
    if isinstance(sides := body.get("aspects"), dict):
        changed["aspects"] = {name: told(side) for name, side in sides.items()}
    if isinstance(places := body.get("ranking"), list):
        changed["ranking"] = [[told(one) for one in tied] if isinstance(tied, list) else tied for tied in places]
    if isinstance(spans := body.get("highlights"), list):
        changed["highlights"] = [
            one | {"response": told(one["response"])} if isinstance(one, dict) and "response" in one else one
            for one in spans
        ]
    return changed


def _mixed(key: bytes, turn: int, half: int) -> int:
    digest = blake2b(half.to_bytes(4) + bytes([turn]), digest_size=4, key=key).digest()
    return int.from_bytes(digest) & MASK


@lru_cache(maxsize=16)
def _key(secret: str, of: Of) -> bytes:
    return blake2b(f"number of a {of}\n{secret}".encode(), digest_size=32).digest()
