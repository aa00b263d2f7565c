"""The axes of a chart: where they end, where their ticks lie, and how a value on them reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

Value: TypeAlias = float | int | None
Words: TypeAlias = Callable[[float], str]


UNSEEN = 1e-3  # of a step: a value so little beyond a tick needs no other one


@dataclass(frozen=True)
class Axis:
    """How far an axis must reach at least, and how its ticks read."""

    low: float | None = None
    high: float | None = None
    words: Words | None = None
    ticks: int = 5
    fixed: bool = False  # ends exactly at low and high


@dataclass(frozen=True)
class Tick:
    at: str
    text: str
    last: bool = False


@dataclass(frozen=True)
class Scale:
    """One axis after rounding: its ends, its ticks, and where a value lies between them."""

    low: float
    high: float
    steps: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where `value` lies, from 0 to 1; values outside stick to the edge."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def steps(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round values from at most `low` to at least `high`, about `count` apart, in steps of 1, 2, 2.5 or 5."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / max(count, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    first, last = math.floor(low / step + UNSEEN), math.ceil(high / step - UNSEEN)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def number(value: float, digits: int = 2) -> str:
    """A number for people: thousands with commas, at most `digits` decimals, small ones in powers of ten."""
    if value and abs(value) < 10**-digits / 2:
        return f"{value:.0e}".replace("e-0", "e-")
    text = f"{value:,.{digits}f}"
    return "0" if text.strip("-0.") == "" and digits == 0 else text


def percent_words(value: float) -> str:
    return f"{value * 100:.0f}%"


def is_number(value: Value) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def scale_of(values: Sequence[float], axis: Axis) -> Scale:
    low = min([*values, *([] if axis.low is None else [axis.low])])
    high = max([*values, *([] if axis.high is None else [axis.high])])
    if axis.fixed and axis.low is not None and axis.high is not None:
        low, high = axis.low, axis.high
    marks = steps(low, high, axis.ticks)
    if axis.fixed and high > low:
        inside = tuple(mark for mark in marks if low - 1e-9 <= mark <= high + 1e-9)
        return Scale(low, high, inside)
    return Scale(marks[0], marks[-1], marks)


def tick_words(marks: Sequence[float]) -> Words:
    gap = marks[1] - marks[0] if len(marks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(gap) + 1e-9))
    if round(gap * 10**digits, 6) % 1:
        digits += 1
    if digits > 4:
        return lambda value: f"{value:.1e}".replace("e-0", "e-") if value else "0"
    return lambda value: f"{value if value else 0.0:,.{digits}f}"


def exact_words(words: Words, scale: Scale) -> Words:
    """One digit more than the ticks have, and percent where they say percent."""
    if words is percent_words:
        return lambda value: f"{value * 100:.1f}%"
    gap = scale.steps[1] - scale.steps[0] if len(scale.steps) > 1 else 1.0
    digits = max(0, 1 - math.floor(math.log10(gap) + 1e-9))
    if digits > 5:
        return lambda value: f"{value:.2e}"
    return lambda value: f"{value:,.{digits}f}"


def ticks_of(scale: Scale, words: Words) -> list[Tick]:
    last = len(scale.steps) - 1
    return [
        Tick(percent(scale.share(mark)), words(mark), last=index == last and scale.share(mark) > 0.97)
        for index, mark in enumerate(scale.steps)
    ]


def percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"
