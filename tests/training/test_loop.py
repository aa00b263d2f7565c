"""What goes wrong within a step: the state that a run ends in, what it keeps, and what it says to do."""

import errno
import re
from types import SimpleNamespace

import pytest
import torch

from tests.training.conftest import LORA
from tests.training.test_sft import run_here
from training import checkpoints, memory, sft
from training.loop import Loop
from training.rundir import read_report, read_status

ROWS = {"batch_size": 8, "max_steps": 4, "checkpoint_every": 2}
FAILURES = {
    "oom": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.00 GiB. GPU 0 holds 8 GiB"),
    "gpu_lost": RuntimeError("CUDA error: unspecified launch failure"),
    "nan": float("nan"),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_failing_step_keeps_the_last_checkpoint_and_registers_no_model(
    make_run, demonstration_snapshot, monkeypatch, code
):
    folder = make_run("sft", params=ROWS, snapshot=demonstration_snapshot, adapter=LORA)
    honest, calls = sft.answer_loss, []

    def failing(core, packed):
        calls.append(1)
        if len(calls) == 3 and isinstance(FAILURES[code], Exception):
            raise FAILURES[code]
        return honest(core, packed) * (FAILURES[code] if len(calls) == 3 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(sft, "answer_loss", failing)
        assert run_here(folder) == 1
    status = read_status(folder)
    assert (status["state"], status["error"]["code"], status["checkpoint"]) == ("failed", code, 2)
    assert status["error"]["hint"] and not (folder / "model").exists() and read_report(folder) is None
    assert run_here(folder) == 0


def test_a_full_disk_keeps_the_checkpoint_before(make_run, demonstration_snapshot, monkeypatch):
    folder = make_run("sft", params=ROWS, snapshot=demonstration_snapshot, adapter=LORA)
    write, written = checkpoints._write, []

    def full(path, data):
        written.append(path)
        if len(written) == 5:
            path.write_bytes(bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_write", full)
        assert run_here(folder) == 1
    status, error = read_status(folder), read_status(folder)["error"]
    assert (error["code"], status["checkpoint"]) == ("disk", 2) and "Free some space" in error["hint"]
    assert not (folder / "model").exists()
    assert run_here(folder) == 0


GIB = 2**30


@pytest.mark.parametrize(
    ("before", "most", "limit", "share"),
    [(1 * GIB, 11 * GIB, 8 * GIB, 0.62), (1 * GIB, 8.5 * GIB, 9 * GIB, 0.75), (8 * GIB, 20 * GIB, 8 * GIB, 0.0)],
)
def test_what_fits_is_the_share_of_what_was_wanted(before, most, limit, share):
    assert memory.share_that_fits(int(before), int(most), int(limit)) == pytest.approx(share)


def test_the_hint_names_a_batch_that_fits_into_what_is_there(make_run, demonstration_snapshot, monkeypatch):
    monkeypatch.setattr(memory, "held", lambda _: 1 * GIB)
    monkeypatch.setattr(memory, "peak", lambda _: 7 * GIB)
    monkeypatch.setattr(memory, "there", lambda _: 8 * GIB)

    def failing(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 is full")

    monkeypatch.setattr(sft, "answer_loss", failing)
    folder = make_run("sft", params=ROWS, snapshot=demonstration_snapshot, adapter=LORA)
    assert run_here(folder) == 1
    error = read_status(folder)["error"]
    # 9 GiB more were wanted, and 0.9 * 8 - 1 = 6.2 are there: 5 of 8 rows.
    assert error["code"] == "oom" and "Set params.batch_size to 5 (it is 8)" in error["hint"]
    monkeypatch.setattr(memory, "there", lambda _: 2 * GIB)
    alone = make_run("sft", "alone", params=ROWS | {"batch_size": 1}, snapshot=demonstration_snapshot, adapter=LORA)
    assert run_here(alone) == 1
    assert re.search(r"set params.max_length to \d+, or take a smaller model", read_status(alone)["error"]["hint"])


def test_what_writes_answers_is_told_the_minibatch_that_fits():
    loop = Loop.__new__(Loop)
    loop.config = SimpleNamespace(params=SimpleNamespace(minibatch=32, rollout_batch=64, max_new_tokens=128))
    assert "Set params.minibatch to 16 (it is 32)" in loop._smaller(0.6)  # 19 would fit, and does not divide 64
    assert "Set params.minibatch to 1 (it is 32)" in loop._smaller(0.0)
    loop.config.params.minibatch = 1
    assert "set params.max_new_tokens to 64" in loop._smaller(0.6)


def test_allocations_are_read_from_what_torch_says():
    assert memory.asked(RuntimeError("Tried to allocate 1.50 GiB (GPU 0)")) == 1.5 * GIB
    assert memory.asked(RuntimeError("can't allocate memory: you tried to allocate 4096 bytes")) == 4096
    assert memory.asked(RuntimeError("no figure")) == 0
    device = torch.device("cpu")
    assert 0 < memory.held(device) <= memory.peak(device) * 1.1 and memory.peak(device) < memory.there(device)
