"""The worker: supervises runs, advances rounds and does the chores, until it is told to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import close_old_connections, connections
from django_tasks_db.management.commands.db_worker import Worker as ChoreWorker
from django_tasks_db.models import DBTaskResult

from annotation import disputes, jobs, queue, rule_changes
from annotation.quality import reports
from rlhf import cutting, pushing, rounds, runner
from rlhf.models import Round
from training import rundir

log = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between two looks at the runs; a lost process is seen well within five
FRESH = 15.0  # seconds after which a heartbeat no longer counts
MAX_CHORE_STARTS = 3


def run_worker(stop: threading.Event) -> None:
    """Work until `stop` is set; runs go on without the worker.

    Whatever can take long has a thread of its own, so that a large snapshot or import never keeps the runs waiting.
    """
    sweep_chores()
    threads = [start_thread(chores, stop), start_thread(upkeep, stop)]
    while not stop.is_set():
        beat()
        close_old_connections()
        _guarded(runner.tick)
        stop.wait(INTERVAL)
    for thread in threads:
        thread.join(timeout=5)
    heartbeat_file().unlink(missing_ok=True)


def advance_rounds() -> None:
    """Take every open round as far as it can go; one that fails says so and does not hold up the others."""
    for round in Round.objects.open().filter(problem="").select_related("project", "start_model", "base_model"):
        try:
            rounds.advance(round)
        except Exception as error:  # the border of the process: a person must see what a log line would hide
            log.exception("Round %s of %s cannot go on", round.number, round.project.slug)
            problem = f"It stopped on an unexpected error: {type(error).__name__}: {error}"
            Round.objects.open().filter(pk=round.pk).update(problem=problem)


def seen_lately() -> bool:
    """Whether a worker of this data folder showed itself in the last seconds."""
    try:
        return time.time() - heartbeat_file().stat().st_mtime < FRESH
    except OSError:
        return False


def beat() -> None:
    heartbeat_file().write_text(f"{os.getpid()}\n")


def heartbeat_file() -> Any:
    return settings.HONE_DATA / "worker.heartbeat"


# What else is due, and how many seconds later again.
UPKEEP: list[tuple[Callable[[], object], float]] = [
    (advance_rounds, 2.0),
    (queue.expire_leases, 10.0),
    (jobs.sweep, 10.0),
    (rule_changes.sweep, 10.0),
    (disputes.refresh_all, 10.0),
    (reports.sweep, 10.0),
    (pushing.sweep, 10.0),
    (cutting.sweep, 10.0),
]


def upkeep(stop: threading.Event) -> None:
    """Do what is due, one thing after another, until `stop` is set."""
    due = [0.0] * len(UPKEEP)
    while not stop.is_set():
        close_old_connections()
        for place, (job, every) in enumerate(UPKEEP):
            if time.monotonic() >= due[place] and not stop.is_set():
                _guarded(job)
                due[place] = time.monotonic() + every
        stop.wait(INTERVAL)
    connections.close_all()


def start_thread(work: Callable[[threading.Event], None], stop: threading.Event) -> threading.Thread:
    """A thread that works until `stop` is set; it does not keep a process alive that wants to end."""
    thread = threading.Thread(target=work, args=(stop,), name=work.__name__, daemon=True)
    thread.start()
    return thread


def sweep_chores() -> int:
    """Chores whose worker died are queued again, a few times at most; the rest are marked as failed."""
    swept = 0
    for chore in DBTaskResult.objects.running():
        if not _worker_lives((chore.worker_ids or [""])[-1]):
            again = len(chore.worker_ids) < MAX_CHORE_STARTS
            if again:
                DBTaskResult.objects.filter(pk=chore.pk, status="RUNNING").update(status="READY", started_at=None)
            else:
                chore.set_failed(RuntimeError("Its worker died each time it was tried."))
            swept += 1
    return swept


def chore_worker_id() -> str:
    """Names this process so that a later one can tell whether it still lives."""
    return f"{os.getpid()}:{rundir.process_started(os.getpid())}"


def _worker_lives(worker_id: str) -> bool:
    pid, _, started = worker_id.partition(":")
    return pid.isdigit() and started.isdigit() and rundir.is_alive(int(pid), int(started))


def chores(stop: threading.Event) -> None:
    """Do imports and other jobs of people until `stop` is set."""
    while not stop.is_set():
        try:
            if DBTaskResult.objects.ready().exists():  # its worker locks the whole of SQLite to look
                _chore_worker().run()
        except Exception:  # the border of the thread: a chore's own failure is recorded with it
            log.exception("The chores stopped for a moment")
        finally:
            connections.close_all()
        stop.wait(1.0)


def _chore_worker() -> ChoreWorker:
    """One that does what is waiting and returns."""
    return ChoreWorker(
        queue_names=["*"],
        interval=0.0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=chore_worker_id(),
        excluded_queue_names=[],
    )


def _guarded(job: Callable[[], object]) -> None:
    try:
        job()
    except Exception:  # the border of the process: the next look may well succeed
        log.exception("%s failed; it is tried again", job.__name__)
