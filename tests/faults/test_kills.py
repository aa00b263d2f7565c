"""What must survive a kill -9: the training when the worker dies, the run when the training dies."""

import os
import signal
import time

import pytest

from training import checkpoints, rundir

pytestmark = pytest.mark.slow

SETTINGS = ["params.epochs=1000", "params.batch_size=4", "params.checkpoint_every=5", "hardware.threads=1"]


def train(world, name):
    options = ["--base", "tiny", "--snapshot", "pairs", "--name", name, "--no-wait", "--skip-checks"]
    world.manage("train", "reward", *options, "--set", *SETTINGS, "hardware.device=cpu")


def test_training_outlives_its_worker_and_a_run_outlives_its_process(world):
    train(world, "hardy")
    worker = world.start("worker", "--skip-checks")
    row = world.until("hardy", lambda row: row["state"] == "running" and row["step"] > 6)
    engine = row["pid"]

    # kill -9 of the worker: training goes on, and the next worker adopts it
    worker.kill()
    worker.wait()
    step = rundir.read_status(world.folder("hardy"))["step"]
    deadline = time.monotonic() + 60
    while rundir.read_status(world.folder("hardy"))["step"] < step + 5:
        assert time.monotonic() < deadline, "training stopped with its worker"
        time.sleep(0.05)
    worker = world.start("worker", "--skip-checks")
    row = world.until("hardy", lambda row: row["step"] > step + 5)
    assert (row["pid"], row["attempt"], row["losses"]) == (engine, 1, 0)

    # kill -9 of the training: seen within five seconds, resumed from the last complete checkpoint
    os.kill(engine, signal.SIGKILL)
    killed = time.monotonic()
    world.until("hardy", lambda row: row["losses"] == 1)
    assert time.monotonic() - killed < 5
    checkpoint = rundir.list_checkpoints(world.folder("hardy"))[-1]["step"]
    row = world.until("hardy", lambda row: row["state"] == "running" and row["step"] > checkpoint)
    assert (row["attempt"], row["pid"] != engine) == (2, True)
    log = (world.folder("hardy") / "log.txt").read_text()
    assert f"{checkpoint}" in log

    # cancel: within one step, with a checkpoint at that very step, from which it goes on when asked
    world.manage("shell", "--verbosity", "0", "-c", CANCEL)
    world.until("hardy", lambda row: row["state"] == "cancelled")
    status = rundir.read_status(world.folder("hardy"))
    steps = [each["step"] for each in rundir.read_metrics(world.folder("hardy"))]
    assert status["checkpoint"] == status["step"] == max(steps)
    assert steps == list(range(1, max(steps) + 1))
    kept = checkpoints.latest(rundir.RunDir(world.folder("hardy")))  # reads it back, hashes checked
    assert kept is not None and kept.step == max(steps) and kept.tensors()

    # SIGTERM ends the worker
    worker.terminate()
    assert worker.wait(timeout=30) == 0


CANCEL = "from rlhf import runs; from rlhf.models import Run; runs.cancel(Run.objects.get(name='hardy'))"
