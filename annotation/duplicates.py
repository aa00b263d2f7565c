"""Prompts that say the same, or nearly, although they are other records: counted, and the first told by their lines."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from annotation.nearness import NearPrompts, first_of_each
from annotation.sameness import key_of, texts_of

MOST_TOLD = 20
Places = npt.NDArray[np.int64]


@dataclass
class SamePrompts:
    """Some eighty bytes a record; sameness.py says when two prompts are the same, nearness.py when they nearly are."""

    keys: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("Q"))
    near: NearPrompts = field(default_factory=NearPrompts)

    def add(self, prompts: list[tuple[int, list[dict[str, str]]]]) -> None:
        """Take prompts with their lines."""
        texts = [texts_of(prompt) for _, prompt in prompts]
        self.keys.extend(int(key_of(one)[:16], 16) for one in texts)
        self.lines.extend(line for line, _ in prompts)
        self.near.add([" ".join(one[1::2]) for one in texts])

    def found(self) -> dict[str, Any]:
        """{"count", "first": [[line, line of the first with that prompt], …], "near": the same of the nearly equal}."""
        earliest = (
            first_of_each(np.frombuffer(self.keys, dtype=np.uint64)) if self.keys else np.zeros(0, dtype=np.int64)
        )
        places = np.arange(len(earliest))
        like = self.near.found()
        like[earliest != places] = places[earliest != places]
        return self._told(earliest) | {"near": self._told(like)}

    def _told(self, earliest: Places) -> dict[str, Any]:
        repeats = np.flatnonzero(earliest != np.arange(len(earliest)))
        first = [[self.lines[index], self.lines[earliest[index]]] for index in repeats[:MOST_TOLD].tolist()]
        return {"count": len(repeats), "first": first}
