"""Runs whose process does nothing but keep the run-directory contract: what supervises them is real."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.test import Client

from annotation.models import Project, Role
from rlhf import launcher, runner
from rlhf.models import Run
from tests import factories
from tests.rlhf import rows

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


LOOP = """
import json, sys
from pathlib import Path
from training import rundir
path = Path(sys.argv[1])
config = json.loads((path / "run.json").read_text())
run = rundir.RunDir(path)

def answer(model, row, words):
    texts = [f"{model} {word} to {row['id']}" for word in words]
    texts = ["the same"] * len(texts) if row["id"] == "same" else texts
    responses = [{"text": text, "tokens": 4, "finish": "eos", "logprob": -1.0} for text in texts]
    return json.dumps({"id": row["id"], "prompt": row["prompt"], "model": model, "responses": responses})

with run.recorded():
    run.phase("work", 1)
    prompts = path / "prompts.jsonl"
    rows = [json.loads(line) for line in prompts.read_text().splitlines()] if prompts.exists() else []
    kind, report = config["kind"], {}
    if kind == "generate":
        lines = [answer("policy", row, ["yes", "no"]) for row in rows]
        (path / "generations.jsonl").write_text("".join(line + "\\n" for line in lines))
    elif kind == "evaluate":
        names = [policy["name"] for policy in config["params"]["policies"]]
        lines = [answer(name, row, ["says"]) for name in names for row in rows]
        (path / "generations.jsonl").write_text("".join(line + "\\n" for line in lines))
        report = {"eval": {"policies": {name: {"kl": 2.0, "length": 9.0, "n": len(rows)} for name in names}}}
    else:
        (path / "model").mkdir(exist_ok=True)
        (path / "model" / "adapter_model.safetensors").write_bytes(config["name"].encode())
        (path / "model" / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))
        report = {"reload_check": {"ok": True, "rows": 4, "max_abs_diff": 0.0}}
        report["eval"] = {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 100}}
    run.write_report(report)
"""


@pytest.fixture
def loop_engine(engine: FakeEngine) -> FakeEngine:
    """An engine that answers prompts with its name and trains nothing."""
    engine.script = LOOP
    return engine


@pytest.fixture
def trainer(client: Client) -> Project:
    """A project whose trainer is signed in at `client`, with a model to start from."""
    project = factories.project()
    client.force_login(factories.member(project, Role.TRAINER))
    rows.model("desk-base", project=project)
    return project
