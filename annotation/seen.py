"""Which ids came before in an import: sixteen bytes each at most, where a set of Python numbers takes eighty."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

LEAST = 1024  # slots
MARK = 2**64 - 1


class Seen:
    """An open hash table of 64-bit marks, at most half full; ids are told apart by their hashes alone."""

    def __init__(self) -> None:
        self.slots, self.count = array("Q", bytes(8 * LEAST)), 0

    def add(self, text: str) -> bool:
        """Whether this is the first time."""
        # What _place does, without the call: every record of an import comes through here.
        slots, last, mark = self.slots, len(self.slots) - 1, (hash(text) & MARK) or 1  # 0 is an empty slot
        place = mark & last
        while there := slots[place]:
            if there == mark:
                return False
            place = (place + 1) & last
        slots[place] = mark
        self.count += 1
        if 2 * self.count > len(slots):
            self._grow()
        return True

    def add_all(self, texts: list[str]) -> bool:
        """Takes them all where each is new; else none of them, and says False."""
        marks = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts)).view(np.uint64)
        marks[marks == 0] = 1
        if len(set(texts)) < len(texts) or self._has_any(marks):
            return False
        while 2 * (self.count + len(marks)) > len(self.slots):
            self._grow()
        _put(self.slots, marks)
        self.count += len(marks)
        return True

    def _has_any(self, marks: npt.NDArray[np.uint64]) -> bool:
        slots, last = np.frombuffer(self.slots, dtype=np.uint64), np.uint64(len(self.slots) - 1)
        places = marks & last
        while len(marks):
            there = slots[places]
            if (there == marks).any():
                return True
            taken = there != 0
            marks, places = marks[taken], (places[taken] + np.uint64(1)) & last
        return False

    def __contains__(self, text: str) -> bool:
        return bool(self.slots[self._place((hash(text) & MARK) or 1)])

    def _place(self, mark: int) -> int:
        slots, last = self.slots, len(self.slots) - 1
        place = mark & last
        while slots[place] not in (0, mark):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        marks = np.frombuffer(self.slots, dtype=np.uint64)
        self.slots = array("Q", bytes(16 * len(marks)))
        _put(self.slots, marks[marks != 0])


def _put(table: array[int], marks: npt.NDArray[np.uint64]) -> None:
    """Each of the marks, all new and different, into the first free slot from its own on."""
    slots, last = np.frombuffer(table, dtype=np.uint64), np.uint64(len(table) - 1)
    places = marks & last
    while len(marks):
        free = slots[places] == 0
        slots[places[free]] = marks[free]
        left = slots[places] != marks  # the slot was taken before, or by another one just now
        marks, places = marks[left], (places[left] + np.uint64(1)) & last
