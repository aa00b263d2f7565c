"""Answers to judge: usual ones of a few sentences, and long pairs of every sort of markdown, alike in most words."""

from __future__ import annotations

import random
from collections.abc import Callable

TOPIC = "the of water oil heavier density because carbon chain molecule number measure reason table shows however"
WORDS = [*TOPIC.split(), "therefore", "result", "small", "large", "first", "value", "never", "often", "model", "fact"]
HEBREW_TEXT = "המים כבדים יותר מן השמן ולכן השמן צף עליהם גם כשמערבבים אותם היטב"
HEBREW = HEBREW_TEXT.split()


def usual(number: int, letter: str) -> str:
    """About 800 characters, with a list."""
    drawn = random.Random(f"{number}{letter}")
    points = "\n".join(f"- **{_words(drawn, 2)}**: {_words(drawn, 9)}" for _ in range(3))
    return f"{_words(drawn, 60)}.\n\n{points}\n\n{_words(drawn, 40)}."


def long_pair(number: int, size: int) -> tuple[str, str]:
    """Two answers of `size` characters; the second is the first with every fifteenth word or so replaced."""
    drawn = random.Random(number)
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(drawn.choice(BLOCKS)(drawn))
        length += len(parts[-1]) + 2
    first = "\n\n".join(parts)[:size]
    words = first.split(" ")
    for place in range(7, len(words), 15):
        words[place] = drawn.choice(WORDS)
    return first, " ".join(words)[:size]


def _words(drawn: random.Random, number: int) -> str:
    return " ".join(drawn.choices(WORDS, k=number))


def _table(drawn: random.Random) -> str:
    rows = "\n".join(f"| {_words(drawn, 2)} | `{_words(drawn, 1)}` | {_words(drawn, 3)} |" for _ in range(10))
    return f"| Measure | Name | Value |\n| --- | --- | ---: |\n{rows}"


def _code(drawn: random.Random) -> str:
    lines = "\n".join(f"def step_{n}(x: int) -> int:\n    return x * {n}  # {_words(drawn, 4)}" for n in range(12))
    return f"```python\n{lines}\n```"


BLOCKS: list[Callable[[random.Random], str]] = [
    lambda drawn: f"## {_words(drawn, 4)}",
    lambda drawn: _words(drawn, 60) + ".",
    lambda drawn: "\n".join(f"- **{_words(drawn, 2)}** {_words(drawn, 9)}" for _ in range(6)),
    _table,
    _code,
    lambda drawn: " ".join(drawn.choices(HEBREW, k=50)) + ".",
    lambda drawn: _words(drawn, 80) + ".",
]
