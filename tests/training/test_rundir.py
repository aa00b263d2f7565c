import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training import rundir
from training.rundir import Diverged, RunDir
from training.runfile import RunFileError


def outcome(path: Path, body) -> tuple[int, dict]:
    """Exit code and final status of a run whose method is `body`."""
    run = RunDir(path)
    try:
        with run.recorded():
            body(run)
    except SystemExit as left:
        return left.code, rundir.read_status(path)
    return 0, rundir.read_status(path)


def fail_with(error: BaseException):
    def body(run: RunDir) -> None:
        raise error

    return body


def test_a_run_that_reports_has_succeeded(tmp_path: Path) -> None:
    def body(run: RunDir) -> None:
        run.phase("training", 2)
        run.log(1, loss=1.0)
        run.log(2, loss=0.5)
        during = rundir.read_status(tmp_path)
        assert (during["state"], during["total"], during["pid"]) == ("running", 2, os.getpid())
        assert rundir.is_alive(during["pid"], during["pid_started"])
        run.write_report({"kind": "sft"})

    code, status = outcome(tmp_path, body)
    assert (code, status["state"], status["step"], status["error"]) == (0, "succeeded", 2, None)
    assert status["finished_at"] >= status["started_at"]
    assert rundir.read_report(tmp_path) == {"kind": "sft"}


def test_a_run_that_ends_without_a_report_has_crashed(tmp_path: Path) -> None:
    code, status = outcome(tmp_path, lambda run: None)
    assert (code, status["error"]["code"]) == (1, "crash")


@pytest.mark.parametrize(
    ("error", "exit_code", "code"),
    [
        (RunFileError("params.beta", "must be above zero"), 2, "config"),
        (Diverged("loss became nan"), 1, "nan"),
        (MemoryError(), 1, "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), 1, "oom"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "disk"),
        (RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"), 1, "disk"),
        (RuntimeError("CUDA error: unspecified launch failure"), 1, "gpu_lost"),
        (RuntimeError("CUDA error: device-side assert triggered"), 1, "crash"),
        (ZeroDivisionError("division by zero"), 1, "crash"),
    ],
)
def test_a_failure_has_a_code_a_message_and_a_hint(tmp_path: Path, error: Exception, exit_code: int, code: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"params": {"batch_size": 8}}))
    left, status = outcome(tmp_path, fail_with(error))
    assert (left, status["state"], status["error"]["code"]) == (exit_code, "failed", code)
    assert status["error"]["message"]
    if code == "oom":
        assert "params.batch_size to 4" in status["error"]["hint"]
    if code == "crash":
        assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_torchs_own_out_of_memory_is_recognised(tmp_path: Path) -> None:
    import torch

    _, status = outcome(tmp_path, fail_with(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")))
    assert status["error"]["code"] == "oom"


def test_a_number_that_is_none_stops_the_run(tmp_path: Path) -> None:
    _, status = outcome(tmp_path, lambda run: run.require_finite(3, loss=1.0, grad_norm=float("inf")))
    assert status["error"]["code"] == "nan"
    assert "grad_norm became inf at step 3" in status["error"]["message"]
    assert "learning_rate" in status["error"]["hint"]


def test_sigterm_asks_and_the_method_answers_with_143(tmp_path: Path) -> None:
    def body(run: RunDir) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert run.stop_requested
        run.leave_if_stopped()

    code, status = outcome(tmp_path, body)
    assert (code, status["state"], status["error"]) == (143, "cancelled", None)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_attempts_are_counted_and_the_time_adds_up(tmp_path: Path) -> None:
    _, first = outcome(tmp_path, fail_with(ValueError("x")))
    (tmp_path / "status.json").write_text(json.dumps(first | {"seconds": 100.0}))
    _, second = outcome(tmp_path, lambda run: run.write_report({"seconds": run.seconds}))
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert second["started_at"] == first["started_at"]
    assert rundir.read_report(tmp_path)["seconds"] >= 100


def test_the_last_line_of_a_step_counts_and_half_a_line_does_not(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "lo')
    assert [row["loss"] for row in rundir.read_metrics(tmp_path)] == [3.0, 1.0]
    assert [row["step"] for row in rundir.read_metrics(tmp_path, after=1)] == [2]


def test_a_resumed_run_writes_behind_the_last_whole_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "lo')

    def body(run: RunDir) -> None:
        run.log(1, eval_loss=2.0)
        run.log(2, loss=float("nan"))
        run.write_report({})

    outcome(tmp_path, body)
    rows = rundir.read_metrics(tmp_path)
    assert (rows[0]["loss"], rows[0]["eval_loss"]) == (3.0, 2.0)
    assert rows[1]["loss"] is None
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_samples_and_log_are_read_back(tmp_path: Path) -> None:
    def body(run: RunDir) -> None:
        run.sample({"step": 1, "prompt": ["p"], "after": "old"})
        run.sample({"step": 1, "prompt": ["p"], "after": "new ✓"})
        run.say("info", "two\nlines")
        run.write_report({})

    outcome(tmp_path, body)
    assert [row["after"] for row in rundir.read_samples(tmp_path)] == ["new ✓"]
    log = rundir.tail_log(tmp_path)
    assert log[0].endswith("info two") and log[1].endswith("info lines")
    assert rundir.tail_log(tmp_path, after_line=len(log)) == []


def test_a_directory_nobody_has_run_yet_is_queued(tmp_path: Path) -> None:
    assert rundir.read_status(tmp_path)["state"] == "queued"
    assert rundir.read_metrics(tmp_path) == rundir.read_samples(tmp_path) == rundir.list_checkpoints(tmp_path) == []
    assert rundir.read_report(tmp_path) is None


def test_a_run_has_one_engine_at_a_time(tmp_path: Path) -> None:
    with rundir.sole(tmp_path) as alone:
        assert alone
        second = subprocess.run([sys.executable, "-m", "training", str(tmp_path)], capture_output=True, text=True)
    assert second.returncode == 1 and "Another process works on this run" in second.stderr
    assert not (tmp_path / "status.json").exists()


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    started = rundir.process_started(os.getpid())
    assert rundir.is_alive(os.getpid(), started)
    assert not rundir.is_alive(os.getpid(), started - 1)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = rundir.process_started(child.pid)
    assert rundir.is_alive(child.pid, born)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not collected yet
    assert not rundir.is_alive(child.pid, born)
    child.communicate()
    assert not rundir.is_alive(child.pid, born)
