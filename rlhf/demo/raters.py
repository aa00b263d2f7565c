"""Simulated people: they know the true utility, and judge by it with Bradley-Terry noise, each in a way of their own.

A rater feels the difference of two replies as `(utility(a) - utility(b)) / temperature + side_bias` plus logistic
noise, so that apart from ties P(a over b) is the logistic function of that difference (Bradley and Terry 1952). A
feeling close to nothing is a tie, and a stronger one a stronger choice.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf.demo import world
from rlhf.demo.utility import Prompt, utility

TIE = 0.25  # felt differences below this are ties
CLEAR, STRONG = 1.5, 3.0  # felt differences from which a choice has strength 2 and 3
EQUAL = 1e-9  # utilities closer than this differ by rounding alone
DREADFUL = -1.0  # utility: when neither of two tied replies is better than this, both are bad


@dataclass(frozen=True)
class Rater:
    """One simulated annotator."""

    name: str
    temperature: float  # in units of utility; higher is noisier
    side_bias: float = 0.0  # felt in favour of side a, whatever stands there

    def prefer(self, prompt: Prompt, a: str, b: str, rng: random.Random) -> dict[str, Any]:
        """A preference body for two replies in the order shown: `{"choice", "strength"}`."""
        worth_a, worth_b = utility(prompt, a), utility(prompt, b)
        feeling = self.lean(worth_a - worth_b) + _logistic(rng)
        if a.strip() == b.strip() or abs(feeling) < TIE:
            both_bad = max(worth_a, worth_b) < DREADFUL
            return {"choice": "both_bad" if both_bad else "tie", "strength": 0}
        strength = 1 + (abs(feeling) >= CLEAR) + (abs(feeling) >= STRONG)
        return {"choice": "a" if feeling > 0 else "b", "strength": strength}

    def lean(self, gap: float) -> float:
        """How a difference of utility feels before the noise; above zero it is in favour of side a."""
        return gap / self.temperature + self.side_bias

    def demonstrate(self, prompt: Prompt, rng: random.Random) -> str:
        """The reply that this person would write; good, not perfect."""
        return world.demonstration(prompt, rng)


RATERS = (
    Rater("simulated-ada", temperature=0.55),
    Rater("simulated-ben", temperature=0.7, side_bias=0.15),
    Rater("simulated-cleo", temperature=0.7),
    Rater("simulated-dan", temperature=0.85),
    Rater("simulated-eve", temperature=0.7, side_bias=-0.1),
)


def noise_ceiling(pairs: Iterable[tuple[Prompt, str, str]], raters: Sequence[Rater] = RATERS) -> float:
    """How often the reply of higher utility is expected to be the chosen one, where a rater chose and did not tie.

    No model can be expected to agree better with such labels. Pairs of equal utility count as half right, and
    identical replies, which are always ties, not at all.
    """
    right = chosen = 0.0
    for prompt, a, b in pairs:
        if a.strip() == b.strip():
            continue
        gap = utility(prompt, a) - utility(prompt, b)
        for rater in raters:
            lean = rater.lean(gap)
            for_a, for_b = _above(TIE - lean), _above(TIE + lean)
            chosen += for_a + for_b
            right += for_a if gap > 0 else for_b if gap < 0 else (for_a + for_b) / 2
    return right / chosen if chosen else math.nan


def truth_accuracy(judged: Iterable[tuple[Prompt, str, str]]) -> float:
    """How often the chosen reply, given before the rejected one, has the higher utility; equal ones are half right.

    What several people say of the same two replies counts once, as a reward model's accuracy counts it.
    """
    right: dict[tuple[str, ...], list[float]] = {}
    for prompt, chosen, rejected in judged:
        gap = utility(prompt, chosen) - utility(prompt, rejected)
        shown = (str(prompt), *sorted((chosen, rejected)))
        right.setdefault(shown, []).append(1.0 if gap > EQUAL else 0.5 if gap >= -EQUAL else 0.0)
    return math.fsum(math.fsum(each) / len(each) for each in right.values()) / len(right) if right else math.nan


def _logistic(rng: random.Random) -> float:
    """One draw of the standard logistic distribution."""
    share = min(max(rng.random(), 1e-12), 1 - 1e-12)
    return math.log(share / (1 - share))


def _above(threshold: float) -> float:
    """P(logistic noise > threshold)."""
    return 1 / (1 + math.exp(threshold))
