"""Engine processes for tests: each is forked from the tests' own, which has torch loaded, and killed like any other.

What `python -m training` itself does from its first line on is tested by `tests/faults`.
"""

import multiprocessing
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from training import __main__ as engine

# Where there is a GPU, no backward pass survives in a process that is forked after another one.
_forks = multiprocessing.get_context("forkserver" if torch.cuda.is_available() else "fork")


class Engine:
    """A process of its own that plays a run directory; `prelude` is Python that runs in it before."""

    def __init__(self, folder: Path, *, prelude: str = "") -> None:
        self._output = folder.with_name(f"{folder.name}.{time.monotonic_ns()}.txt")
        self._process = _forks.Process(target=_play, args=(folder, prelude, self._output))
        with warnings.catch_warnings():  # the threads that are there hold nothing that the new process wants
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, the signal's number negated, or None while it works."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ended(self, timeout: float = 600) -> tuple[int, str]:
        """The exit code, and all that was printed."""
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"still at work after {timeout} s"
        return code, self._output.read_text()


def run_engine(folder: Path, *, prelude: str = "") -> tuple[int, str]:
    """Exit code and output of one whole engine process."""
    return Engine(folder, prelude=prelude).ended()


def _play(folder: Path, prelude: str, output: Path) -> None:
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
    os.environ.pop("HONE_DATA", None)
    exec(prelude, {"__name__": "prelude"})
    sys.exit(engine.main([str(folder)]))
