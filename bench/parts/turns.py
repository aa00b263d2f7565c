"""Steps of two processes in turn: each waits for its word before every step, and tells what the step took."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

Moment = tuple[float, float]  # seconds on the wall, and of this process and its children on their processors


class Steps:
    """What a run says of its steps; where its order names two pipes, it stands still between them."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.lines: list[int] | None = order.get("lines")
        self.total: int = order["steps"]
        self.took: list[Moment] = []
        self.beside = 0.0  # megabytes of its children alone, at most
        self._began: Moment | None = None

    def begin(self) -> None:
        """Wait for the word that the next step may begin; after the last one there is none to wait for."""
        if len(self.took) == self.total:
            return
        if self.lines:
            os.write(self.lines[1], b".")
            os.read(self.lines[0], 1)
        self._began = now()

    def end(self) -> None:
        assert self._began is not None
        began, self._began, ended = self._began, None, now()
        self.took.append((ended[0] - began[0], ended[1] - began[1]))
        self.beside = max(self.beside, sum(own_bytes(each) for each in psutil.Process().children()) / 2**20)

    def found(self) -> dict[str, Any]:
        """Seconds of each step, and the most memory at a time: of the process, and of those that it started."""
        return {
            "seconds": [wall for wall, _ in self.took],
            "cpu_seconds": [processor for _, processor in self.took],
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + self.beside,
        }


def now() -> Moment:
    return time.monotonic(), time.process_time() + sum(map(_processor, psutil.Process().children()))


def _processor(child: psutil.Process) -> float:
    times = child.cpu_times()
    return times.user + times.system


def own_bytes(child: psutil.Process) -> int:
    """What it holds that nobody shares."""
    return child.memory_full_info().uss


class Run:
    """One process that takes its steps when it is told to."""

    def __init__(self, root: Path, module: str, order: dict[str, Any], out: Path) -> None:
        theirs_in, self._tell = os.pipe()
        self._hear, theirs_out = os.pipe()
        order = order | {"out": str(out), "lines": [theirs_in, theirs_out]}
        self.module, self.out = module, out
        self._log = out.with_suffix(".log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", f"bench.parts.{module}", json.dumps(order)],
            cwd=root,
            env=os.environ | {"OMP_NUM_THREADS": str(order["threads"]), "TOKENIZERS_PARALLELISM": "false"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.going = self._listen()

    def step(self) -> None:
        """Let it take one step, and return when it stands before the next or has ended."""
        os.write(self._tell, b".")
        self.going = self._listen()

    def result(self) -> dict[str, Any]:
        if self._process.wait():
            self._log.seek(0)
            raise SystemExit(f"{self.module} failed:\n{self._log.read()[-4000:]}")
        return dict(json.loads(self.out.read_text()))

    def _listen(self) -> bool:
        return os.read(self._hear, 1) == b"."


def built(build: Callable[..., None], *args: Any) -> None:
    """Run `build` in a process of its own: a run inherits the peak memory of whoever starts it."""
    process = multiprocessing.get_context("spawn").Process(target=build, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("The work could not be built.")


def in_turns(runs: list[Run]) -> list[dict[str, Any]]:
    """What they found when all of them have taken all their steps, one step each at a time."""
    while any(run.going for run in runs):
        for run in runs:
            if run.going:
                run.step()
    return [run.result() for run in runs]


def spread(values: list[float]) -> dict[str, float]:
    """The median, and the middle half."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median": statistics.median(values), "low": low, "high": high}


def device() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores"
