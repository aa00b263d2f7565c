"""Draws that come out alike every time: who is in a sample, where a person begins, what their next turn brings."""

from __future__ import annotations

import hashlib
import random
from enum import StrEnum

from django.conf import settings

from annotation.claiming import Spot
from annotation.models.tasks import MAX_RANK

LOTS = 10_000  # a share is kept to a hundredth of a percent


class Turn(StrEnum):
    """What a lease is for."""

    WORK = "work"
    GOLD = "gold"
    REPEAT = "repeat"


def lot_of(external_id: str | None) -> int:
    """The lot of a task, 0 to 9999: the same id draws the same one everywhere and for ever."""
    if external_id is None:
        return random.randrange(LOTS)
    return int.from_bytes(hashlib.sha256(external_id.encode()).digest()[:8]) % LOTS


def lots_of(external_ids: list[str]) -> list[int]:
    """The same of many ids, in two thirds of the time."""
    import numpy as np  # only an import of many pays for loading it

    digests = b"".join([hashlib.sha256(one.encode()).digest() for one in external_ids])
    return list((np.frombuffer(digests, dtype=">u8")[::4] % LOTS).tolist())


def start_of(project_id: int, user_id: int, salt: int = 0) -> int:
    """The rank at which this person begins a walk where the order is random; after the highest comes the lowest."""
    return 1 + int((MAX_RANK - 2) * _fraction("start", project_id, user_id, salt))


def spot_of(project_id: int, user_id: int, turn: int) -> Spot:
    """Where this person's lease number `turn` looks for a task where the order is random."""
    point, factor = (_fraction(what, project_id, user_id, turn) for what in ("point", "factor"))
    return Spot(point=int(MAX_RANK * point), factor=1 + int((MAX_RANK - 2) * factor))


def turn_of(project_id: int, user_id: int, turn: int, *, gold_share: float, repeat_share: float) -> Turn:
    """What this person's lease number `turn` brings; nobody without the secret key can tell beforehand."""
    drawn = _fraction("turn", project_id, user_id, turn)
    if drawn < gold_share:
        return Turn.GOLD
    return Turn.REPEAT if drawn < gold_share + repeat_share else Turn.WORK


def _fraction(*parts: object) -> float:
    """From 0 up to, not including, 1."""
    key = hashlib.sha256(str(settings.SECRET_KEY).encode()).digest()
    digest = hashlib.blake2b(repr(parts).encode(), key=key, digest_size=6).digest()
    return int.from_bytes(digest) / 2**48
