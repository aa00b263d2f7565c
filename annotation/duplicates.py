"""Prompts that say the same, or nearly, although they are other records: counted, and the first told by their lines."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from annotation.nearness import NearPrompts, bands_and_bits, first_of_each
from annotation.sameness import digest_of, plain, texts_of

MOST_TOLD = 20
TOGETHER = 1000  # prompts taken together
Places = npt.NDArray[np.int64]
Prompt = list[dict[str, str]]


class Sketches(NamedTuple):
    """What is kept of prompts, one after the other: eight bytes that tell the same ones, and those of nearness.py."""

    keys: bytes
    bands: bytes
    bits: bytes


def sketches_of(texts: list[str]) -> Sketches:
    """Of prompts of one user message each."""
    return _sketches([["user", plain(text)] for text in texts])


def _sketches(prompts: list[list[str]]) -> Sketches:
    """Of prompts that sameness.texts_of took apart."""
    digests = b"".join([digest_of(one) for one in prompts])
    starts = np.frombuffer(digests, dtype=">u8").reshape(len(prompts), -1)[:, 0]
    texts = [one[1] if len(one) == 2 else " ".join(one[1::2]) for one in prompts]
    return Sketches(starts.astype(np.uint64).tobytes(), *bands_and_bits(texts))


@dataclass
class SamePrompts:
    """Some eighty bytes a record; sameness.py says when two prompts are the same, nearness.py when they nearly are."""

    keys: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("Q"))
    near: NearPrompts = field(default_factory=NearPrompts)
    before: int = 0  # how many of them stood in the project before the file

    def add(self, prompts: list[tuple[int, Prompt]]) -> None:
        """Take prompts with their lines."""
        if prompts:
            self.take([line for line, _ in prompts], _sketches([texts_of(prompt) for _, prompt in prompts]))

    def take(self, lines: list[int], sketches: Sketches) -> None:
        """Take prompts that were sketched before, with their lines."""
        self.keys.frombytes(sketches.keys)
        self.lines.extend(lines)
        self.near.bands += sketches.bands
        self.near.bits += sketches.bits

    def know(self, prompts: Iterable[Prompt]) -> None:
        """Take prompts that stood in the project before: what says the same is told with 0 for the other's line."""
        there, waiting = SamePrompts(), iter(prompts)
        while some := list(islice(waiting, TOGETHER)):
            there.add([(0, prompt) for prompt in some])
        self.keys, self.lines = there.keys + self.keys, there.lines + self.lines
        self.near.bands[:0], self.near.bits[:0] = there.near.bands, there.near.bits
        self.before += len(there.keys)

    def found(self) -> dict[str, Any]:
        """How many say the same as an earlier one, as "count", and with one that stood in the project as "in_project".

        "first" holds [line, line of the earlier one] of the first of them; "near" the same of those nearly equal.
        """
        earliest = (
            first_of_each(np.frombuffer(self.keys, dtype=np.uint64)) if self.keys else np.zeros(0, dtype=np.int64)
        )
        places = np.arange(len(earliest))
        like = self.near.found()
        like[earliest != places] = places[earliest != places]
        return self._told(earliest) | {"near": self._told(like)}

    def _told(self, earliest: Places) -> dict[str, Any]:
        repeats = np.flatnonzero(earliest != np.arange(len(earliest)))
        repeats = repeats[repeats >= self.before]
        in_project = int(np.count_nonzero(earliest[repeats] < self.before))
        first = [[self.lines[index], self.lines[earliest[index]]] for index in repeats[:MOST_TOLD].tolist()]
        return {"count": len(repeats), "in_project": in_project, "first": first}
