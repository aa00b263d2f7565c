import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from training import checkpoints, rundir
from training.rundir import RunDir
from training.runfile import RunFileError


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    (tmp_path / "run.json").write_text(json.dumps({"kind": "sft", "seed": 1, "params": {"learning_rate": 1}}))
    return RunDir(tmp_path)


def save(run: RunDir, step: int) -> Path:
    return checkpoints.save(run, step, {"w": torch.full((2, 2), float(step))}, {"step": step, "rng": [step]})


def test_the_newest_checkpoint_comes_back_and_two_are_kept(run: RunDir) -> None:
    assert checkpoints.latest(run) is None
    for step in (5, 10, 15):
        save(run, step)
    found = checkpoints.latest(run)
    assert (found.step, found.state["rng"], found.tensors()["w"][0, 0].item()) == (15, [15], 15.0)
    assert [entry["step"] for entry in rundir.list_checkpoints(run.path)] == [10, 15]
    assert rundir.read_status(run.path)["checkpoint"] == 15


def test_a_checkpoint_half_written_is_invisible_and_later_overwritten(run: RunDir) -> None:
    save(run, 5)
    aside = run.path / "checkpoints" / ".tmp-00000010"
    aside.mkdir()
    (aside / "state.pt").write_bytes(b"half")
    assert checkpoints.latest(run).step == 5
    save(run, 10)
    assert checkpoints.latest(run).step == 10
    assert not aside.exists()


@pytest.mark.parametrize("name", ["state.pt", "tensors.safetensors"])
def test_a_damaged_checkpoint_is_passed_over_before_anything_is_unpickled(run: RunDir, name: str) -> None:
    save(run, 5)
    path = save(run, 10) / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert checkpoints.latest(run).step == 5
    assert "damaged" in (run.path / "log.txt").read_text()


def test_a_checkpoint_that_lists_no_hash_is_never_loaded(run: RunDir) -> None:
    path = save(run, 5) / "checkpoint.json"
    listing = json.loads(path.read_text())
    del listing["files"]["state.pt"]
    path.write_text(json.dumps(listing))
    assert checkpoints.latest(run) is None


def test_a_setting_may_be_corrected_before_a_resume_but_not_the_model(run: RunDir) -> None:
    save(run, 5)
    (run.path / "run.json").write_text(json.dumps({"kind": "sft", "seed": 1, "params": {"learning_rate": 0.1}}))
    assert checkpoints.latest(run).step == 5
    assert "params.learning_rate is 0.1 from here on; up to this step it was 1." in (run.path / "log.txt").read_text()
    (run.path / "run.json").write_text(json.dumps({"kind": "sft", "seed": 1, "params": {"policies": [1]}}))
    with pytest.raises(RunFileError, match=r"params\.policies changed since the last checkpoint"):
        checkpoints.latest(run)
    (run.path / "run.json").write_text(json.dumps({"kind": "sft", "seed": 2}))
    with pytest.raises(RunFileError, match="seed changed since the last checkpoint"):
        checkpoints.latest(run)


def test_every_generator_continues_where_it_was(run: RunDir) -> None:
    draw = lambda: (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: E731
    draw()
    checkpoints.save(run, 1, {}, {"rng": checkpoints.capture_rng()})
    wanted = [draw() for _ in range(3)]
    checkpoints.restore_rng(checkpoints.latest(run).state["rng"])
    assert [draw() for _ in range(3)] == wanted
