import os
import signal
import time

import pytest
from django.utils import timezone

from rlhf import runner, runs
from rlhf.launcher import AlreadyRunning
from rlhf.locks import sole
from rlhf.models import Model, Run
from tests import factories
from tests.rlhf import rows
from training import rundir, runfile

pytestmark = pytest.mark.django_db

ENDED = lambda run: run.is_ended  # noqa: E731
STEPPED = lambda run: run.step > 2  # noqa: E731


def test_a_queued_run_is_started_followed_and_its_model_registered(engine, until):
    run = rows.run(factories.project())
    until(run, ENDED)
    assert (run.state, run.step, run.attempt) == (Run.State.SUCCEEDED, 3, 1)
    model = Model.objects.get(run=run)
    assert (model.role, model.is_adapter, model.parent, model.project) == ("reward", True, run.start_model, run.project)
    assert run.outcome == {"model": model.name, "eval": {"loss": 0.5}}
    assert model.sha256 == runfile.model_hash(run.folder / "model")


def test_only_as_many_runs_as_allowed_have_a_process(engine, until, settings):
    settings.HONE_MAX_RUNS = 1
    engine.endless()
    project = factories.project()
    queued = [rows.run(project) for _ in range(3)]
    for places, states in [(None, ["starting", "queued", "queued"]), (2, ["starting", "starting", "queued"])]:
        runner.tick(places)
        runner.tick(places)
        found = [Run.objects.get(pk=run.pk).state for run in queued]
        assert [state.replace("running", "starting") for state in found] == states  # one may have come further


def test_a_run_whose_report_says_the_reload_failed_does_not_succeed(engine, until):
    engine.script = engine.script.replace('"ok": True', '"ok": False')
    run = until(rows.run(factories.project()), ENDED)
    assert run.state == Run.State.FAILED
    assert "reproduces its scores" in run.error["message"]
    assert not Model.objects.filter(run=run).exists()


def test_a_failure_keeps_the_engines_own_words(engine, until):
    engine.behave(at_end="raise rundir.Diverged('loss became nan at step 3.', 'Lower it.')")
    run = until(rows.run(factories.project()), ENDED)
    assert run.state == Run.State.FAILED
    assert run.error == {"code": "nan", "message": "loss became nan at step 3.", "hint": "Lower it."}


def test_cancel_takes_effect_within_a_step_and_leaves_a_checkpoint_to_resume_from(engine, until):
    engine.endless()
    run = until(rows.run(factories.project()), STEPPED)
    runs.cancel(run)
    assert run.state == Run.State.STOPPING
    until(run, ENDED)
    assert run.state == Run.State.CANCELLED
    status = rundir.read_status(run.folder)
    assert status["checkpoint"] == status["step"] == run.step
    assert run.error is None
    engine.behave(steps=run.step + 1)
    runs.resume(run)
    until(run, ENDED)
    assert (run.state, run.attempt) == (Run.State.SUCCEEDED, 2)
    assert run.step == status["step"] + 1


def test_a_killed_process_is_noticed_and_the_run_goes_on_from_its_last_checkpoint(engine, until):
    engine.endless()
    run = until(rows.run(factories.project()), STEPPED)
    first = run.pid
    os.kill(first, signal.SIGKILL)
    until(run, lambda run: run.pid not in (None, first) and run.state == Run.State.RUNNING)
    assert (run.attempt, run.losses) == (2, 1)
    metrics = rundir.read_metrics(run.folder)
    assert [row["step"] for row in metrics] == list(range(1, metrics[-1]["step"] + 1))


def test_the_log_says_that_a_process_was_killed_behind_what_that_left_of_a_line(engine, until):
    engine.endless()
    run = until(rows.run(factories.project()), STEPPED)
    os.kill(run.pid, signal.SIGKILL)
    with (run.folder / "log.txt").open("a") as file:
        file.write("12:00:00 info half a li")
    engine.behave(steps=3)
    killed = run.pid
    until(run, ENDED)
    lines = rundir.tail_log(run.folder)
    (told,) = [line for line in lines if "vanished" in line]
    assert told.endswith(
        f"error process {killed} vanished (killed by signal 9); the run goes on from its last checkpoint"
    )
    assert not any("half a li" in line for line in lines)
    assert run.state == Run.State.SUCCEEDED and "succeeded" in lines[-1]


def test_a_process_whose_threads_are_still_ending_is_not_gone_before_it_is_known_how_it_ended(engine, tmp_path):
    engine.script = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    process = engine.submit(tmp_path)
    while rundir.process_started(process.pid):  # till its first thread has ended
        time.sleep(0.01)
    assert engine.alive(process) and engine.exit_code(process) is None
    os.kill(process.pid, signal.SIGKILL)
    while engine.alive(process):
        time.sleep(0.01)
    assert engine.exit_code(process) == -signal.SIGKILL


def test_a_run_that_keeps_dying_is_given_up_with_a_reason(engine, until):
    engine.behave(at_end="import os; print('no luck'); os.kill(os.getpid(), 9)")
    run = until(rows.run(factories.project()), ENDED)
    assert (run.state, run.attempt, run.losses) == (Run.State.LOST, 3, 3)
    assert "vanished 3 times" in run.error["message"]
    assert "memory" in run.error["hint"]
    engine.behave()
    runs.resume(run)
    assert until(run, ENDED).state == Run.State.SUCCEEDED


def test_a_process_that_dies_before_its_first_status_is_reported_with_its_last_words(engine, until):
    engine.script = "import sys; print('ImportError: no module named luck'); sys.exit(1)"
    run = until(rows.run(factories.project()), ENDED)
    assert run.state == Run.State.LOST
    assert "exit code 1" in run.error["message"]
    assert "no module named luck" in run.error["message"]


def test_a_worker_that_died_before_it_stored_the_pid_is_made_up_for(engine, until):
    engine.endless()
    run = rows.run(factories.project())
    Run.objects.filter(pk=run.pk).update(state=Run.State.STARTING, attempt=1, started_at=timezone.now())
    process = engine.submit(run.folder)
    child = engine._children.pop(process.pid)  # a new worker knows no children
    until(run, STEPPED)
    assert (run.pid, run.attempt) == (process.pid, 1)
    child.kill()
    child.wait()


def test_two_engines_never_share_a_run_directory(engine):
    engine.endless()
    run = rows.run(factories.project())
    engine.submit(run.folder)
    with pytest.raises(AlreadyRunning):
        engine.submit(run.folder)


def test_somebody_elses_process_with_the_same_pid_is_not_ours(engine, until):
    run = rows.run(factories.project())
    strange = {"state": Run.State.RUNNING, "pid": os.getpid(), "pid_started": 1.0, "attempt": 1}
    Run.objects.filter(pk=run.pk).update(**strange)
    runner.tick()
    run.refresh_from_db()
    assert (run.state, run.losses) in [(Run.State.QUEUED, 1), (Run.State.STARTING, 1)]


def test_a_second_runner_stands_aside(engine, data_folder):
    run = rows.run(factories.project())
    with sole(data_folder / "runner.lock"):
        runner.tick()
    run.refresh_from_db()
    assert run.state == Run.State.QUEUED


def test_cancelling_before_the_engine_listens_ends_the_run_as_cancelled(engine, until):
    engine.script = "import time; time.sleep(60)"
    run = rows.run(factories.project())
    runner.tick()
    run.refresh_from_db()
    runs.cancel(run)
    assert until(run, ENDED).state == Run.State.CANCELLED
