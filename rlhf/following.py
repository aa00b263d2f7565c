"""Waiting for a run or a round at the command line, with progress that a person can see."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from django.core.management.base import CommandError

from annotation.models import Project
from rlhf import rounds, runner, runs, worker
from rlhf.arguments import refuse
from rlhf.models import Round, Run
from training import rundir
from training.runfile import RunFileError

PAUSE = 0.3  # seconds between two looks
EVERY = 10.0  # seconds between two lines where lines cannot be overwritten
REDRAW = 0.2  # seconds between two states of a line that can


def carry_out(out: Any, project: Project, kind: str, asked: dict[str, Any], **options: Any) -> Run | None:
    """The run that a command `asked` for (see `add_settings`), once it has succeeded; None where nobody waits for it.

    What goes wrong is a CommandError of one line.
    """
    try:
        named = {"name": asked["name"], "seed": asked["seed"], "overrides": asked["changes"]}
        run = runs.create(project, kind, **named, **options)
    except RunFileError as error:
        raise refuse(error) from error
    out.write(f"Queued {run.name} ({run.folder})")
    if not asked["wait"]:
        return None
    try:
        run = follow_run(run, out)
    except KeyboardInterrupt:
        raise CommandError(f"No longer watching; {run.name} goes on by itself.") from None
    require_success(run)
    return run


def follow_run(run: Run, out: TextIO = sys.stdout) -> Run:
    """The run once it has ended. Where no worker lives, this process does the runner's work meanwhile."""
    shown = quiet_line(out)
    while not run.is_ended:
        if not worker.seen_lately():
            runner.tick()
        shown.write(describe(run))
        time.sleep(PAUSE)
        run.refresh_from_db()
    shown.write(describe(run), last=True)
    return run


def follow_round(round: Round, out: TextIO = sys.stdout) -> Round:
    """The round once it waits for people or has ended or stopped."""
    shown = quiet_line(out)
    while True:
        if not worker.seen_lately():
            runner.tick()
            rounds.advance(round)
        round.refresh_from_db()
        live = round.runs.exclude(state__in=Run.ENDED).order_by("pk").first()
        waits = round.state in (Round.State.LABEL, Round.State.COMPARE, Round.State.DECIDE)
        text = f"{round}: {round.get_state_display().lower()}" + (f", {describe(live)}" if live else "")
        if round.is_ended or round.problem or waits:
            shown.write(text, last=True)
            return round
        shown.write(text)
        time.sleep(PAUSE)


def require_success(run: Run) -> None:
    """CommandError with the run's own sentence unless it succeeded."""
    if run.state == Run.State.SUCCEEDED:
        return
    error = run.error or {}
    reason = " ".join(filter(None, [error.get("message"), error.get("hint")]))
    raise CommandError(f"{run.name}: {run.get_state_display().lower()}. {reason}".strip())


def describe(run: Run) -> str:
    """One line about where a run is: `dpo-r1 running: train 40 of 200, 2 min left`."""
    status = rundir.read_status(run.folder)
    text = f"{run.name} {run.get_state_display().lower()}"
    if run.state not in Run.LIVE or not status.get("phase"):
        return text
    text += f": {status['phase']}"
    if status.get("total"):
        text += f" {status.get('step', 0)} of {status['total']}"
    if (left := status.get("eta_seconds")) is not None:
        text += f", {duration(left)} left"
    return text


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def quiet_line(out: TextIO) -> Line:
    """A line of progress; what the runner would log of its good news is in it already."""
    logging.getLogger("rlhf").setLevel(logging.WARNING)
    return Line(out)


class Line:
    """One line that changes in place on a terminal, and now and then a new line anywhere else."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._on_terminal = getattr(out, "isatty", lambda: False)()
        self._last, self._next = "", 0.0

    def write(self, text: str, *, last: bool = False) -> None:
        """Show `text` unless it is shown or came too soon; the `last` one always, and it ends the line."""
        now = self._clock()
        if not last and (text == self._last or now < self._next):
            return
        self._out.write(f"\r\x1b[K{text}" if self._on_terminal else text)
        self._out.write("\n" if last or not self._on_terminal else "")
        self._out.flush()
        self._last, self._next = text, now + (REDRAW if self._on_terminal else EVERY)
