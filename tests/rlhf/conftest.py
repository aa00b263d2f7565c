"""Runs whose process does nothing but keep the run-directory contract: what supervises them is real."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rlhf import launcher, runner
from rlhf.models import Run

ENGINE = """
import json, sys, time
from pathlib import Path
from training import rundir
path = Path(sys.argv[1])
run = rundir.RunDir(path)
with run.recorded():
    checkpoints = rundir.list_checkpoints(path)
    first = checkpoints[-1]["step"] if checkpoints else 0
    run.phase("train", {steps}, first)
    for step in range(first + 1, {steps} + 1):
        run.log(step, loss=1.0 / step)
        folder = path / "checkpoints" / f"step-{{step:06d}}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.json").write_text(json.dumps({{"step": step}}))
        run.checkpointed(step)
        {each_step}
        run.leave_if_stopped()
    {at_end}
    model = path / "model"
    model.mkdir(exist_ok=True)
    (model / "adapter_model.safetensors").write_bytes(b"trained")
    (model / "adapter_config.json").write_text("{{}}")
    run.write_report({{"eval": {{"loss": 0.5}}, "reload_check": {{"ok": True, "rows": 4, "max_abs_diff": 0.0}}}})
"""


class FakeEngine(launcher.LocalLauncher):
    """Starts a script in place of the engine."""

    script = ENGINE.format(steps=3, each_step="pass", at_end="pass")

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, "-c", self.script, str(folder)]

    def behave(self, *, steps: int = 3, each_step: str = "pass", at_end: str = "pass") -> None:
        self.script = ENGINE.format(steps=steps, each_step=each_step, at_end=at_end)

    def endless(self) -> None:
        self.behave(steps=1_000_000, each_step="time.sleep(0.01)")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    monkeypatch.setitem(launcher.LAUNCHERS, "local", fake)
    yield fake
    for child in fake._children.values():
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        child.wait()


@pytest.fixture
def until() -> Callable[[Run, Callable[[Run], bool]], Run]:
    """Ticks the runner until the condition holds for the run."""

    def wait(run: Run, condition: Callable[[Run], bool]) -> Run:
        deadline = time.monotonic() + 60  # only so that a broken test ends
        while time.monotonic() < deadline:
            runner.tick()
            run.refresh_from_db()
            if condition(run):
                return run
            time.sleep(0.02)
        raise AssertionError(f"{run} is {run.state} at step {run.step}, error {run.error}")

    return wait
