"""Stated rules by which a simulated rater can judge any text, for trying the loop without people."""

import random
import re
from collections.abc import Callable
from typing import Any

from rlhf.demo.utility import Prompt

_WORD = re.compile(r"[\w']+")
HAPPY_WORDS = "friend friends fun glad happy hug kind laughed love loved nice play played smiled together"
HAPPY = frozenset(HAPPY_WORDS.split(" "))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def shorter(text: str) -> float:
    """Fewer words win."""
    return -float(len(_words(text)))


def longer(text: str) -> float:
    """More words win."""
    return float(len(_words(text)))


def varied(text: str) -> float:
    """The larger share of different words wins."""
    words = _words(text)
    return len(set(words)) / len(words) if words else 0.0


def happy(text: str) -> float:
    """More happy words in a hundred win."""
    words = _words(text)
    return 100 * sum(word in HAPPY for word in words) / len(words) if words else 0.0


RULES: dict[str, Callable[[str], float]] = {"shorter": shorter, "longer": longer, "varied": varied, "happy": happy}


class RuleRater:
    """Judges by one rule, without noise; equal scores are ties."""

    def __init__(self, rule: str) -> None:
        self.name = f"simulated-{rule}"
        self._score = RULES[rule]

    def prefer(self, prompt: Prompt, a: str, b: str, rng: random.Random) -> dict[str, Any]:
        """The judgement of answers `a` and `b`, as the API takes it."""
        lead = self._score(a) - self._score(b)
        if lead == 0:
            return {"choice": "tie", "strength": 0}
        return {"choice": "a" if lead > 0 else "b", "strength": 1}
