"""Which ids came before in an import: sixteen bytes each at most, where a set of Python numbers takes eighty."""

from __future__ import annotations

from array import array

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

    def __contains__(self, text: str) -> bool:
        return bool(self.slots[self._place((hash(text) & MARK) or 1)])

    def _place(self, mark: int) -> int:
        slots, last = self.slots, len(self.slots) - 1
        place = mark & last
        while slots[place] not in (0, mark):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        marks = self.slots
        self.slots = array("Q", bytes(16 * len(marks)))
        for mark in marks:
            if mark:
                self.slots[self._place(mark)] = mark
