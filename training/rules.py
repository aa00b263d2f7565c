"""Rewards that need no model: a rule says what the text of an answer is worth, from 0 to 1. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

Rule = Callable[[str], float]
KNOWN = "json, regex:PATTERN or words:LOW-HIGH"


def parse(text: str) -> Rule:
    """The rule that `text` names, or ValueError saying what is wrong with it."""
    name, _, value = text.partition(":")
    if name == "json" and not value:
        return _is_json
    if name == "regex" and value:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ValueError(f"has a pattern that is no regular expression: {error}") from error
        return lambda answer: float(pattern.search(answer) is not None)
    if name == "words" and (found := re.fullmatch(r"(\d+)-(\d+)", value)):
        low, high = int(found[1]), int(found[2])
        if 0 < low <= high:
            return lambda answer: _within(len(answer.split()), low, high)
    raise ValueError(f"must be {KNOWN}, got {text!r}")


def _is_json(answer: str) -> float:
    try:
        json.loads(answer)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0


def _within(count: int, low: int, high: int) -> float:
    """1 inside the bounds, falling to 0 at nothing and at twice the upper one."""
    if count < low:
        return count / low
    return max(0.0, 1.0 - max(0, count - high) / high)
