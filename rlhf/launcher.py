"""How a run gets a process: the seam behind which a laptop, a GPU box or a cluster stands."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings

from rlhf.ready_engine import ReadyEngine, may_fork
from training import rundir

OUTPUT = "output.txt"  # what the process printed: tells why one died that could not write its log


class AlreadyRunning(Exception):
    """The run directory still has a process."""


class LaunchFailed(Exception):
    """No process could be started, in one sentence."""


@dataclass(frozen=True)
class Process:
    """A process on this machine; the start time tells it from a later one with the same pid."""

    pid: int
    started: float | None


class Launcher(Protocol):
    """What the runner needs to know about where a run executes. No method waits for training."""

    def submit(self, folder: Path) -> Process:
        """Start the engine on a run directory; raises AlreadyRunning or LaunchFailed."""

    def alive(self, process: Process) -> bool:
        """Whether that very process still runs."""

    def stop(self, process: Process) -> None:
        """Ask it to finish its step, checkpoint and leave; asking a dead one does nothing."""

    def collect(self, folder: Path) -> dict[str, Any]:
        """The run's status as the engine last wrote it."""

    def exit_code(self, process: Process) -> int | None:
        """How it ended (negative: by which signal), where this launcher can know."""


class LocalLauncher:
    """Processes on this machine, each in its own session, so that they outlive the worker that started them."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._ready: ReadyEngine | None = None

    @contextmanager
    def kept_ready(self) -> Iterator[None]:
        """While it lasts, runs start without loading libraries, where processes can be forked; for many short ones."""
        self._ready = ReadyEngine(_environment()) if may_fork() else None
        try:
            yield
        finally:
            ready, self._ready = self._ready, None
            if ready:
                ready.close()

    def command(self, folder: Path) -> list[str]:
        """What is run for a run directory."""
        return [sys.executable, "-m", "training", str(folder)]

    def submit(self, folder: Path) -> Process:
        lock = _lock(folder)
        try:
            with (folder / OUTPUT).open("ab") as output:
                if self._ready and self._ready.becomes_ready():
                    pid = self._ready.start(folder, lock, output.fileno())
                    return Process(pid, rundir.process_started(pid))
                child = subprocess.Popen(
                    self.command(folder),
                    cwd=settings.BASE_DIR,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
        except OSError as error:
            raise LaunchFailed(f"The training process could not be started: {error.strerror}.") from error
        finally:
            os.close(lock)  # the child holds its own copy, which keeps the lock for as long as it lives
        self._children = {pid: each for pid, each in self._children.items() if each.poll() is None}
        self._children[child.pid] = child
        return Process(child.pid, rundir.process_started(child.pid))

    def alive(self, process: Process) -> bool:
        if (child := self._children.get(process.pid)) and child.poll() is None:
            return True  # also one that looks dead while its threads are still ending: how it ended is not known yet
        return rundir.is_alive(process.pid, None if process.started is None else int(process.started))

    def stop(self, process: Process) -> None:
        if self.alive(process):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)

    def collect(self, folder: Path) -> dict[str, Any]:
        return rundir.read_status(folder)

    def exit_code(self, process: Process) -> int | None:
        child = self._children.get(process.pid)
        return child.poll() if child else None


def _lock(folder: Path) -> int:
    """A descriptor that holds the run directory; two engines on one directory would ruin each other's files."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(str(folder)) from None
    return descriptor


def _environment() -> dict[str, str]:
    """The engine's environment: ours, without what only the web needs to know."""
    hidden = ("SECRET_KEY", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    return kept | offline | {"HONE_DATA": str(settings.HONE_DATA), "PYTHONUNBUFFERED": "1"}


LOCAL = LocalLauncher()
LAUNCHERS: dict[str, Launcher] = {"local": LOCAL}
