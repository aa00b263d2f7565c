"""The runner: one quick look at all runs, repeated for ever. Files and guarded updates are all it trusts.

It can be killed at any instant: the processes go on in their own sessions, and the next runner finds them again by the
pid and start time in their rows (or, if it died before storing those, in their status files).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from rlhf import generation, registry
from rlhf.launcher import LAUNCHERS, AlreadyRunning, Launcher, LaunchFailed, Process
from rlhf.locks import sole
from rlhf.models import Run
from training import rundir

log = logging.getLogger(__name__)

MAX_LOSSES = 3  # processes that may vanish before a person has to look
STARTUP_GRACE = timedelta(seconds=10)  # for a process whose worker died before it could store the pid


def tick(places: int | None = None) -> None:
    """Adopt, collect and start runs; returns at once, and does nothing while another runner is at it.

    At most `places` of them train at a time, HONE_MAX_RUNS where nothing is said.
    """
    with sole(settings.HONE_DATA / "runner.lock") as alone:
        if not alone:
            return
        for run in Run.objects.live().select_related("project", "start_model"):
            look(run)
        free = (places or settings.HONE_MAX_RUNS) - Run.objects.live().count()
        for run in Run.objects.queued()[: max(free, 0)]:
            start(run)


def start(run: Run) -> None:
    """Give a queued run its process."""
    launcher = LAUNCHERS[run.launcher]
    claim = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED)
    claimed = {"state": Run.State.STARTING, "attempt": F("attempt") + 1, "pid": None, "started_at": timezone.now()}
    if not claim.update(**claimed):
        return
    row = Run.objects.filter(pk=run.pk)
    try:
        process = launcher.submit(run.folder)
    except AlreadyRunning:  # the process that was cancelled is still writing its checkpoint: wait for it
        row.filter(state=Run.State.STARTING).update(state=Run.State.QUEUED, attempt=F("attempt") - 1)
        return
    except (LaunchFailed, OSError) as error:
        problem = {"code": "crash", "message": str(error), "hint": "Free some memory or processes and resume."}
        _end(run, Run.State.FAILED, error=problem)
        return
    row.update(pid=process.pid, pid_started=process.started)
    log.info("Run %s started as process %s", run.name, process.pid)


def look(run: Run) -> None:
    """Bring one row up to what its process and its status file say."""
    launcher = LAUNCHERS[run.launcher]
    status = launcher.collect(run.folder)
    if run.pid is None and not _adopt(run, launcher, status):
        return
    process = Process(run.pid or 0, run.pid_started)
    ours = _same(status, process)  # else it is what an earlier process of this run left
    if ours and status.get("state") in Run.ENDED:
        _collect_ending(run, status)
    elif launcher.alive(process):
        if run.state == Run.State.STOPPING:
            launcher.stop(process)  # again: whoever asked may not have been able to signal it
        _note_progress(run, status if ours else {})
    elif ours and launcher.collect(run.folder).get("state") in Run.ENDED:
        look(run)  # it ended between the two looks
    else:
        _lost(run, launcher.exit_code(process))


def _adopt(run: Run, launcher: Launcher, status: dict[str, Any]) -> bool:
    """Find the process of a run whose worker died before it could store the pid."""
    found = Process(status.get("pid") or 0, status.get("pid_started"))
    if launcher.alive(found) or (status.get("state") in Run.ENDED and _began_after(status, run)):
        run.pid, run.pid_started = found.pid, found.started
        run.save(update_fields=["pid", "pid_started"])
        return True
    if run.started_at and timezone.now() - run.started_at > STARTUP_GRACE:
        _lost(run, None)
    return False


def _same(status: dict[str, Any], process: Process) -> bool:
    return bool(process.pid) and (status.get("pid"), status.get("pid_started")) == (process.pid, process.started)


def _began_after(status: dict[str, Any], run: Run) -> bool:
    finished = _moment(status.get("finished_at"))
    return bool(finished and run.started_at and finished >= run.started_at)


def _note_progress(run: Run, status: dict[str, Any]) -> None:
    fields: dict[str, Any] = {}
    if status:
        fields = {"step": status.get("step") or 0, "total": status.get("total") or 0}
        if run.state == Run.State.STARTING and status.get("state") in ("running", "stopping"):
            Run.objects.filter(pk=run.pk, state=Run.State.STARTING).update(state=Run.State.RUNNING)
    if fields and (run.step, run.total) != (fields["step"], fields["total"]):
        Run.objects.filter(pk=run.pk).update(**fields)


def _collect_ending(run: Run, status: dict[str, Any]) -> None:
    state = str(status["state"])
    if state != Run.State.SUCCEEDED:
        _end(run, state, status, error=status.get("error"))
        return
    try:
        outcome = _harvest(run)
    except Exception as error:  # a result that cannot be used fails its run; it must not stop the runner
        log.exception("The result of run %s could not be used", run.name)
        text = str(error) or type(error).__name__
        problem = {
            "code": "data",
            "message": f"The run finished, but its result is unusable: {text}",
            "hint": "See log.txt.",
        }
        _end(run, Run.State.FAILED, status, error=problem)
        return
    _end(run, Run.State.SUCCEEDED, status, outcome=outcome)


def _harvest(run: Run) -> dict[str, Any]:
    """What a finished run leaves in the database: a model, tasks or figures. Safe to repeat."""
    report = rundir.read_report(run.folder) or {}
    if run.kind in Run.TRAINS:
        return {"model": registry.register_run(run).name, "eval": report.get("eval") or {}}
    if run.kind in Run.WRITES:
        return {"tasks": generation.make_tasks_from_generations(run).as_dict()}
    registry.note_evaluation(run, report)
    return {"eval": report.get("eval") or {}}


def _end(run: Run, state: str, status: dict[str, Any] | None = None, **fields: Any) -> None:
    status = status or {}
    fields |= {"finished_at": _moment(status.get("finished_at")) or timezone.now()}
    if status:
        fields |= {"step": status.get("step") or 0, "total": status.get("total") or 0}
    if Run.objects.filter(pk=run.pk, state__in=Run.LIVE).update(state=state, **fields):
        log.info("Run %s: %s", run.name, state)


def _lost(run: Run, exit_code: int | None) -> None:
    """The process is gone and left no ending: go on from the last checkpoint, or give up after a few of these."""
    row = Run.objects.filter(pk=run.pk, state__in=Run.LIVE, attempt=run.attempt)
    gone = f"process {run.pid} vanished{_ending(exit_code)}" if run.pid else "no process was found"
    if run.state == Run.State.STOPPING:
        _end(run, Run.State.CANCELLED)
        rundir.note(run.folder, "error", f"{gone} before it could stop by itself; cancelled")
    elif run.losses + 1 < MAX_LOSSES:
        log.warning("Run %s lost its process; it goes on from its last checkpoint", run.name)
        row.update(state=Run.State.QUEUED, losses=F("losses") + 1, pid=None, pid_started=None)
        rundir.note(run.folder, "error", f"{gone}; the run goes on from its last checkpoint")
    else:
        _end(run, Run.State.LOST, error=_why_lost(run, exit_code), losses=run.losses + 1)
        rundir.note(run.folder, "error", f"{gone}; after {MAX_LOSSES} of these the run is given up as lost")


def _ending(exit_code: int | None) -> str:
    if not exit_code:
        return ""
    return f" (killed by signal {-exit_code})" if exit_code < 0 else f" (exit code {exit_code})"


def _why_lost(run: Run, exit_code: int | None) -> dict[str, str]:
    ending = _ending(exit_code)
    message = f"Its process vanished {run.losses + 1} times without saying why{ending}."
    hint = "The system kills processes when memory runs out: make the batch smaller, or read output.txt; then resume."
    return {"code": "crash", "message": message + _last_words(run), "hint": hint}


def _last_words(run: Run) -> str:
    """The last line the process printed, which is all there is when it died before its first status."""
    try:
        lines = (run.folder / "output.txt").read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f" Its last words: {lines[-1][:200]}" if lines else ""


def _moment(stamp: float | None) -> datetime | None:
    return datetime.fromtimestamp(stamp, tz=UTC) if stamp else None
