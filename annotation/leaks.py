"""Held-out prompts that say the same as one to train on, or nearly the same, so that what is measured on them flatters.

sameness.py says when two prompts are the same, nearness.py when they nearly are: both as a split has it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from annotation.sameness import key_of, texts_of

TOGETHER = 1000  # prompts looked at together
Prompt = list[dict[str, str]]


@dataclass(frozen=True)
class Leak:
    """Of `of` different held-out prompts so many are the same as, or nearly the same as, one to train on."""

    same: int
    near: int
    of: int

    def __bool__(self) -> bool:
        return self.same + self.near > 0

    def __str__(self) -> str:
        count = self.same + self.near
        return (
            f"{count:,} of {self.of:,} held-out prompts {'says' if count == 1 else 'say'} the same ({self.same:,}) or "
            f"nearly the same ({self.near:,}) as a prompt to train on, so figures on them may be better than the truth."
        )


@dataclass
class Leaks:
    """Takes the prompts of both sides as they come, eighty bytes each; tells which of those held out are in both."""

    keys: array[int] = field(default_factory=lambda: array("Q"))
    held: array[int] = field(default_factory=lambda: array("b"))
    waiting: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        from annotation.nearness import NearPrompts  # numpy is loaded only where prompts are compared

        self.near = NearPrompts()

    def add(self, prompts: Iterable[Prompt], *, held_out: bool) -> None:
        for prompt in prompts:
            self.held.append(held_out)
            self.waiting.append(texts_of(prompt))
            if len(self.waiting) >= TOGETHER:
                self._look()

    def found(self) -> Leak:
        import numpy as np

        from annotation.nearness import first_of_each

        self._look()
        held = np.frombuffer(self.held, dtype=np.int8).astype(bool)
        keys = np.frombuffer(self.keys, dtype=np.uint64)
        group = self.near.groups(first_of_each(keys))
        asked, places = np.unique(keys[held], return_index=True)
        same = np.isin(asked, keys[~held])
        near = np.isin(group[held][places], group[~held]) & ~same
        return Leak(int(same.sum()), int(near.sum()), len(asked))

    def _look(self) -> None:
        self.keys.extend(int(key_of(texts)[:16], 16) for texts in self.waiting)
        self.near.add([" ".join(texts[1::2]) for texts in self.waiting])
        self.waiting.clear()
