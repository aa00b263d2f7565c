import os
import threading

import pytest
from django_tasks_db.models import DBTaskResult

from rlhf import rounds, worker
from tests import factories
from tests.rlhf import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


@pytest.fixture
def alone(monkeypatch):
    """A worker without its threads, which would need a database of their own."""
    monkeypatch.setattr(worker, "chores", lambda stop: None)
    monkeypatch.setattr(worker, "UPKEEP", [])


def chore(worker_ids):
    fields = {"task_path": "nowhere.task", "backend_name": "default", "args_kwargs": {"args": [], "kwargs": {}}}
    fields |= {"run_after": "9999-01-01T00:00:00Z", "exception_class_path": "", "traceback": ""}
    return DBTaskResult.objects.create(status="RUNNING", worker_ids=worker_ids, **fields)


def test_a_worker_is_seen_while_its_heart_beats():
    assert not worker.seen_lately()
    worker.beat()
    assert worker.seen_lately()
    os.utime(worker.heartbeat_file(), (0, 0))
    assert not worker.seen_lately()


def test_chores_of_dead_workers_are_queued_again_and_given_up_in_the_end():
    alive = chore([worker.chore_worker_id()])
    dead, hopeless = chore(["4000000:1"]), chore(["4000000:1"] * 3)
    assert worker.sweep_chores() == 2
    states = [DBTaskResult.objects.get(pk=each.pk).status for each in (alive, dead, hopeless)]
    assert states == ["RUNNING", "READY", "FAILED"]


def test_a_round_that_breaks_says_so_and_does_not_hold_up_the_others(monkeypatch):
    plan = rounds.Plan(prompts=1, eval_prompts=1)
    asked = [{"id": str(n), "prompt": [{"role": "user", "content": str(n)}]} for n in range(4)]
    models = {"start_model": rows.model(), "base_model": rows.model()}
    made = [rounds.start_round(factories.project(), plan, prompts_to_label=asked, **models) for _ in range(2)]
    advanced = []

    def advance(round):
        if round == made[0]:
            raise KeyError("surprise")
        advanced.append(round)

    monkeypatch.setattr(rounds, "advance", advance)
    worker.advance_rounds()
    worker.advance_rounds()
    made[0].refresh_from_db()
    assert "KeyError: 'surprise'" in made[0].problem
    assert advanced == [made[1]] * 2


def test_the_worker_ends_when_asked_and_takes_its_heartbeat_along(alone, monkeypatch):
    stop = threading.Event()
    monkeypatch.setattr(worker.runner, "tick", stop.set)
    worker.run_worker(stop)
    assert not worker.seen_lately()


def test_an_error_in_one_look_does_not_end_the_worker(alone, monkeypatch, caplog):
    stop, looks = threading.Event(), []

    def tick():
        looks.append(1)
        if len(looks) == 2:
            stop.set()
        raise RuntimeError("the database went away")

    monkeypatch.setattr(worker, "INTERVAL", 0.0)
    monkeypatch.setattr(worker.runner, "tick", tick)
    worker.run_worker(stop)
    assert len(looks) == 2
    assert "the database went away" in caplog.text


def test_a_round_that_takes_long_does_not_keep_the_runs_waiting(monkeypatch):
    stop, cutting, looks = threading.Event(), threading.Event(), []

    def tick():
        looks.append(cutting.wait(60))
        if len(looks) == 3:
            stop.set()

    def cut_a_large_snapshot():
        cutting.set()
        assert stop.wait(60)  # only so that a broken test ends

    monkeypatch.setattr(worker, "INTERVAL", 0.0)
    monkeypatch.setattr(worker, "chores", lambda stop: None)
    monkeypatch.setattr(worker, "UPKEEP", [(cut_a_large_snapshot, 1000.0)])
    monkeypatch.setattr(worker.runner, "tick", tick)
    worker.run_worker(stop)
    assert looks == [True] * 3
