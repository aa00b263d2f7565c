"""What a person sees while a long command works: the step, how far it is, and the time left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

CLEAR = "\r\x1b[2K"  # back to the start of the line, and wipe it
LINE_SECONDS = 10.0  # between two lines where the output is a file
REDRAW_SECONDS = 0.2


@dataclass(frozen=True)
class Step:
    title: str
    seconds: float  # on the machine the plan was measured on


class Progress:
    """Prints the steps of a known plan; the time left is the plan's, scaled by how fast this machine has been."""

    def __init__(self, out: TextIO, steps: Sequence[Step]) -> None:
        self._out, self._steps = out, list(steps)
        self._live = out.isatty()
        self._number = -1
        self._began = self._drawn = time.monotonic()
        self._spent = self._planned = 0.0  # seconds of finished steps that did real work: measured, and as planned

    def start(self) -> None:
        """Go to the next step."""
        self._number += 1
        self._began = time.monotonic()
        self._drawn = 0.0
        self.update(0.0, "")

    def update(self, share: float, detail: str) -> None:
        """Show that `share` of the step is done; frequent calls are cheap."""
        now = time.monotonic()
        if now - self._drawn < (REDRAW_SECONDS if self._live else LINE_SECONDS):
            return
        self._drawn = now
        text = f"{self._head()} {detail + ', ' if detail else ''}{self._left(share)}"
        self._write(CLEAR + text if self._live else f"{text}\n")

    def finish(self, result: str, *, reused: bool = False) -> None:
        """End the step with one line that says what came of it."""
        spent = time.monotonic() - self._began
        if not reused:
            self._spent += spent
            self._planned += self._steps[self._number].seconds
        took = "kept from before" if reused else duration(spent)
        self._write(f"{CLEAR if self._live else ''}{self._head()} {result} ({took})\n")

    def _head(self) -> str:
        return f"[{self._number + 1}/{len(self._steps)}] {self._steps[self._number].title}:"

    def _left(self, share: float) -> str:
        step = self._steps[self._number]
        pace = min(max((self._spent + 10) / (self._planned + 10), 0.2), 5.0)
        ahead = sum(later.seconds for later in self._steps[self._number + 1 :])
        return f"about {duration(((1 - share) * step.seconds + ahead) * pace)} left in all"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 2 min 05 s."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"
