"""Prompts that say the same although they are other records: counted, and the first ones told by their lines."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotation.sameness import prompt_key

MOST_TOLD = 20


@dataclass
class SamePrompts:
    """Sixteen bytes a record, so that a million cost 16 MB. When two prompts are the same is sameness.py's to say."""

    keys: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, line: int, prompt: list[dict[str, str]]) -> None:
        self.keys.append(int(prompt_key(prompt)[:16], 16))
        self.lines.append(line)

    def found(self) -> dict[str, Any]:
        """{"count", "first": [[line, line of the first with that prompt], …]}: the records that repeat a prompt."""
        if not self.keys:
            return {"count": 0, "first": []}
        keys, lines = np.frombuffer(self.keys, dtype=np.uint64), np.frombuffer(self.lines, dtype=np.uint64)
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        earliest = first[which]
        repeats = np.flatnonzero(earliest != np.arange(len(keys)))
        told = [[int(lines[index]), int(lines[earliest[index]])] for index in repeats[:MOST_TOLD]]
        return {"count": len(repeats), "first": told}
