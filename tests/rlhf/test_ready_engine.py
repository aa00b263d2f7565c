import json
import os
import time

import pytest

from rlhf import launcher, ready_engine
from rlhf.ready_engine import ReadyEngine

pytestmark = pytest.mark.usefixtures("data_folder")


def wait_until(condition):
    deadline = time.monotonic() + 60  # only so that a broken test ends
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def local(monkeypatch):
    """A launcher whose ready engine loads no libraries."""
    monkeypatch.setattr(launcher, "may_fork", lambda: True)
    monkeypatch.setattr(launcher, "ReadyEngine", lambda environment: ReadyEngine(environment, methods=[]))
    return launcher.LocalLauncher()


def test_a_run_is_forked_from_the_engine_that_is_ready(local, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"kind": "magic"}))
    with local.kept_ready():
        engine = local._ready
        assert engine.becomes_ready()
        process = local.submit(tmp_path)
        assert process.pid not in (os.getpid(), engine._process.pid)
        assert not local._children  # no process was started for it
        wait_until(lambda: not local.alive(process))
    status = local.collect(tmp_path)
    assert (status["state"], status["pid"]) == ("failed", process.pid)
    assert (status["pid_started"], status["error"]["code"]) == (process.started, "config")
    assert "kind" in (tmp_path / launcher.OUTPUT).read_text()
    os.close(launcher._lock(tmp_path))  # which was held by the process alone
    assert local._ready is None and engine._process.returncode is not None


def test_a_run_of_its_own_session_holds_the_lock_and_outlives_the_engine(local, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "run.json")  # the run waits for what it is to do
    with local.kept_ready():
        assert local._ready.becomes_ready()
        process = local.submit(tmp_path)
        wait_until(lambda: os.getsid(process.pid) == process.pid)
        with pytest.raises(launcher.AlreadyRunning):
            local.submit(tmp_path)
    assert local.alive(process)
    (tmp_path / "run.json").write_text("{}")
    wait_until(lambda: not local.alive(process))


def test_an_engine_that_has_ended_fails_the_start_and_frees_the_directory(local, tmp_path):
    with local.kept_ready():
        assert local._ready.becomes_ready()
        local._ready._process.kill()
        local._ready._process.wait()
        with pytest.raises(launcher.LaunchFailed):
            local.submit(tmp_path)
    os.close(launcher._lock(tmp_path))


def test_nothing_is_forked_where_there_is_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(ready_engine, "GPU", tmp_path)
    assert not ready_engine.may_fork()
