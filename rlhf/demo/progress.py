"""What a person sees while the demo works: the step, how far it is, and the time left."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rlhf.following import duration, quiet_line

PRIOR = 30.0  # seconds by the plan; what was measured counts for more once it has taken longer


@dataclass(frozen=True)
class Step:
    title: str
    seconds: float  # on the machine the plan was measured on


class Progress:
    """Prints the steps of a known plan; the time left is the plan's, scaled by how fast it has gone so far."""

    def __init__(self, out: TextIO, steps: Sequence[Step], clock: Callable[[], float] = time.monotonic) -> None:
        self._line, self._steps, self._clock = quiet_line(out), list(steps), clock
        self._number = -1
        self._began = clock()
        self._spent = self._planned = 0.0  # seconds of finished steps that did real work: measured, and as planned

    def start(self) -> None:
        """Go to the next step."""
        self._number += 1
        self._began = self._clock()
        self.update(0.0, "")

    def update(self, share: float, detail: str) -> None:
        """Show that `share` of the step is done."""
        self._line.write(
            f"{self._head()} {detail + ', ' if detail else ''}about {duration(self.left(share))} left in all"
        )

    def finish(self, result: str, *, reused: bool = False) -> None:
        """End the step with one line that says what came of it."""
        spent = self._clock() - self._began
        if not reused:
            self._spent += spent
            self._planned += self._steps[self._number].seconds
        took = "kept from before" if reused else duration(spent)
        self._line.write(f"{self._head()} {result} ({took})", last=True)

    def left(self, share: float) -> float:
        """Seconds until the last step ends, with `share` of this one done; a model of any size sets its own pace."""
        step = self._steps[self._number]
        spent = self._spent + (self._clock() - self._began if share else 0.0)
        pace = (spent + PRIOR) / (self._planned + share * step.seconds + PRIOR)
        ahead = sum(later.seconds for later in self._steps[self._number + 1 :])
        return ((1 - share) * step.seconds + ahead) * pace

    def _head(self) -> str:
        return f"[{self._number + 1}/{len(self._steps)}] {self._steps[self._number].title}:"
