"""Which words two texts share, in order: exactly for texts of usual length, by rare phrases for long ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from difflib import SequenceMatcher

Operation = tuple[str, int, int, int, int]  # as difflib's: what, then a range on the left and one on the right

EXACT = 6_000  # words of both sides together; beyond this an exact comparison takes longer than a reader waits
GAP = 2_000  # words between two shared phrases that are still compared exactly
PHRASE = 4  # words in a row that are rare enough to hold the two texts together


def operations(left: list[str], right: list[str]) -> list[Operation]:
    """What turns `left` into `right`: ranges that are equal, replaced, deleted or inserted, covering both."""
    if len(left) + len(right) <= EXACT:
        return list(SequenceMatcher(None, left, right, autojunk=False).get_opcodes())
    return list(_between_anchors(left, right))


def _between_anchors(left: list[str], right: list[str]) -> Iterator[Operation]:
    a = b = 0
    for i, j in [*_anchors(left, right), (len(left), len(right))]:
        if i < a or j < b:
            continue  # inside the run of the anchor before
        while i > a and j > b and left[i - 1] == right[j - 1]:
            i, j = i - 1, j - 1
        yield from _gap(left[a:i], right[b:j], a, b)
        a, b = i, j
        while a < len(left) and b < len(right) and left[a] == right[b]:
            a, b = a + 1, b + 1
        if a > i:
            yield "equal", i, a, j, b


def _gap(left: list[str], right: list[str], a: int, b: int) -> Iterator[Operation]:
    if not left and not right:
        return
    if left and right and len(left) + len(right) <= GAP:
        for name, a0, a1, b0, b1 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
            yield name, a + a0, a + a1, b + b0, b + b1
        return
    name = "replace" if left and right else "delete" if left else "insert"
    yield name, a, a + len(left), b, b + len(right)


def _anchors(left: list[str], right: list[str]) -> list[tuple[int, int]]:
    """Places of phrases that each side has exactly once, as many as keep their order (Bram Cohen's patience diff)."""
    there = _once(right)
    pairs = [(i, there[phrase]) for phrase, i in _once(left).items() if phrase in there]
    tails: list[int] = []  # the smallest right end of an ordered chain of each length
    last: list[int] = []  # which pair that is
    before: list[int | None] = []
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(tails, j)
        before.append(last[length - 1] if length else None)
        tails[length : length + 1] = [j]
        last[length : length + 1] = [index]
    chain: list[tuple[int, int]] = []
    at = last[-1] if last else None
    while at is not None:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _once(words: list[str]) -> dict[tuple[str, ...], int]:
    """The phrases that occur once, in order, with their places."""
    places: dict[tuple[str, ...], int] = {}
    repeated = set()
    for index in range(len(words) - PHRASE + 1):
        phrase = tuple(words[index : index + PHRASE])
        if phrase in places:
            repeated.add(phrase)
        places.setdefault(phrase, index)
    return {phrase: index for phrase, index in places.items() if phrase not in repeated}
