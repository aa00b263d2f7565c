"""A run directory: what the engine writes while it works and what the web reads. Standard library only."""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from training.failures import Diverged as Diverged
from training.failures import RunError as RunError
from training.failures import Stopped as Stopped
from training.failures import describe_error
from training.runfile import RunFileError

HEARTBEAT_SECONDS = 1.0
RESERVE_BYTES = 65_536  # given back when the disk is full, so that the failure itself can still be written down
EXIT_OK, EXIT_FAILED, EXIT_CONFIG, EXIT_STOPPED = 0, 1, 2, 143


class RunDir:
    """One run while it executes: status, metrics, samples, log and report on disk."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.stop_requested = False
        self._lock = threading.RLock()
        self._status: dict[str, Any] = {"state": "starting", "phase": "", "step": 0, "total": None, "eta_seconds": None}
        self._status |= {
            "attempt": 1,
            "started_at": time.time(),
            "finished_at": None,
            "error": None,
            "checkpoint": None,
        }
        self._phase_began: tuple[float, int] | None = None
        self._last_logged: dict[str, Any] = {}
        self._reported = False
        self._before = 0.0  # seconds of earlier attempts
        self._began = time.monotonic()

    @contextmanager
    def recorded(self) -> Iterator[RunDir]:
        """Keep status.json true while the body runs; unless it succeeds, leave by SystemExit with its code."""
        previous = signal.signal(signal.SIGTERM, self._ask_to_stop)
        self._begin()
        done = threading.Event()
        heart = threading.Thread(target=self._beat, args=(done,), daemon=True, name="heartbeat")
        heart.start()
        code = EXIT_OK
        try:
            yield self
            self._require_ending()
            self._finish("succeeded")
        except (Stopped, KeyboardInterrupt):
            code = EXIT_STOPPED
            self._finish("cancelled")
        except BaseException as error:  # the border of the process: whatever happened must end up in status.json
            code = EXIT_CONFIG if isinstance(error, RunFileError) else EXIT_FAILED
            self._fail(error)
        finally:
            done.set()
            heart.join()
            (self.path / ".reserve").unlink(missing_ok=True)
            signal.signal(signal.SIGTERM, previous)
        if code != EXIT_OK:
            raise SystemExit(code)

    def phase(self, name: str, total: int | None = None, step: int = 0) -> None:
        """Say what the run is doing now, and how many steps that takes; without `total` the count stays as it was."""
        with self._lock:
            self._status |= {"state": "stopping" if self.stop_requested else "running", "phase": name}
            self._status["eta_seconds"] = None
            if total is not None:
                self._status |= {"step": step, "total": total}
            self._phase_began = (time.monotonic(), self._status["step"])
        self._write_status()
        self.say("info", f"phase {name}" + (f", {total} steps" if total else ""))

    def progress(self, step: int) -> None:
        """Count a step of the present phase; the heartbeat writes it down."""
        with self._lock:
            self._status["step"] = step
            if self._phase_began and self._status["total"] and step > self._phase_began[1]:
                began, first = self._phase_began
                left = max(self._status["total"] - step, 0)
                self._status["eta_seconds"] = round((time.monotonic() - began) / (step - first) * left, 1)

    def log(self, step: int, **metrics: float | int | None) -> None:
        """Append one row of metrics; a second call for the same step adds to its row, and NaN becomes null."""
        self.progress(step)
        row = {"step": step, "time": round(time.time(), 3)} | {name: _number(value) for name, value in metrics.items()}
        if self._last_logged.get("step") == step:
            row = self._last_logged | row
        self._last_logged = row
        self._append("metrics.jsonl", json.dumps(row))

    def require_finite(self, step: int, **values: float) -> None:
        """Raise Diverged when one of `values` is no number; call it before the optimizer moves the weights."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(
                    f"{name} became {value} at step {step}.",
                    "Lower params.learning_rate (a tenth is a good try) and run again; the last checkpoint is kept.",
                )

    def say(self, level: str, text: str) -> None:
        """Add a line to log.txt; the same line goes to the terminal."""
        for line in text.splitlines() or [""]:
            stamped = f"{time.strftime('%H:%M:%S')} {level} {line}"
            self._append("log.txt", stamped)
            with suppress(OSError):  # whoever read the other end of the pipe may be gone; the run goes on
                print(stamped, flush=True)

    def sample(self, row: dict[str, Any]) -> None:
        """Append one generation for people to look at."""
        self._append("samples.jsonl", json.dumps(row, ensure_ascii=False))

    def checkpointed(self, step: int) -> None:
        with self._lock:
            self._status["checkpoint"] = step
        self._write_status()

    def leave_if_stopped(self) -> None:
        """Raise Stopped when somebody asked the run to stop; checkpoint first where there is something to keep."""
        if self.stop_requested:
            raise Stopped

    @property
    def seconds(self) -> float:
        """Working time so far, earlier attempts included."""
        return self._before + time.monotonic() - self._began

    def write_report(self, report: dict[str, Any]) -> None:
        """Store the final report; the run counts as finished once it is there."""
        write_json(self.path / "report.json", report)
        self._reported = True

    def _begin(self) -> None:
        for name in ("metrics.jsonl", "samples.jsonl", "log.txt"):
            _drop_half_line(self.path / name)
        self._last_logged = (read_metrics(self.path) or [{}])[-1]
        earlier = read_status(self.path)
        attempt = int(earlier.get("attempt") or 0) + 1
        self._before = float(earlier.get("seconds") or 0.0)
        started = earlier.get("started_at") if attempt > 1 else None
        checkpoints = list_checkpoints(self.path)
        self._status |= {
            "pid": os.getpid(),
            "pid_started": process_started(os.getpid()),
            "attempt": attempt,
            "started_at": started or time.time(),
            "checkpoint": checkpoints[-1]["step"] if checkpoints else None,
            "step": checkpoints[-1]["step"] if checkpoints else 0,
        }
        with suppress(OSError):
            (self.path / ".reserve").write_bytes(b"\0" * RESERVE_BYTES)
        self._write_status()

    def _beat(self, done: threading.Event) -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            with self._lock:
                if self.stop_requested and self._status["state"] == "running":
                    self._status["state"] = "stopping"
            with suppress(OSError):  # a full disk shows in the main thread, which can say so
                self._write_status()

    def _ask_to_stop(self, *_: object) -> None:
        self.stop_requested = True  # nothing else: a handler that takes the lock could wait for itself

    def _require_ending(self) -> None:
        if not self._reported:
            self.leave_if_stopped()
            raise RunError("The method ended without a report.")

    def _finish(self, state: str, error: dict[str, str] | None = None) -> None:
        with self._lock:
            self._status |= {"state": state, "finished_at": time.time(), "eta_seconds": None, "error": error}
        self.say(
            "error" if error else "info", f"{state}" + (f" ({error['code']}): {error['message']}" if error else "")
        )
        self._write_status()

    def _fail(self, error: BaseException) -> None:
        described = describe_error(error, self.path)
        if described["code"] == "disk":
            (self.path / ".reserve").unlink(missing_ok=True)
        with suppress(OSError):
            if described["code"] == "crash":
                self.say("error", "".join(traceback.format_exception(error)).rstrip())
        with suppress(OSError):
            self._finish("failed", described)

    def _write_status(self) -> None:
        with self._lock:
            row = self._status | {"heartbeat": time.time(), "seconds": round(self.seconds, 3)}
            write_json(self.path / "status.json", row, durable=False)

    def _append(self, name: str, line: str) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextmanager
def sole(path: Path) -> Iterator[bool]:
    """Whether no other process works on the run directory, where two would ruin each other's files.

    The system frees the lock with its process; unlike the launcher's, a process that is forked does not share it.
    """
    try:
        file = (path / ".engine.lock").open("w")
    except OSError:  # a full disk, or one that cannot be written: the run itself will say so
        yield True
        return
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except (BlockingIOError, PermissionError):
            alone = False
        except OSError:  # a file system without locks
            alone = True
        yield alone


def write_json(path: Path, data: Any, *, durable: bool = True) -> None:
    """Replace a JSON file in one step, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.write("\n")
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a line holds; None where it holds something else."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file, or something else in it."""
    try:
        return object_in(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def read_status(path: Path | str) -> dict[str, Any]:
    """status.json, or a queued state when the engine has not written one yet."""
    return read_object(Path(path) / "status.json") or {
        "state": "queued",
        "phase": "",
        "step": 0,
        "total": None,
        "error": None,
    }


def read_metrics(path: Path | str, after: int | None = None) -> list[dict[str, Any]]:
    """The metric rows of steps later than `after`, in order; the last line of a step counts."""
    rows = {row["step"]: row for row in _read_lines(Path(path) / "metrics.jsonl") if isinstance(row.get("step"), int)}
    return [rows[step] for step in sorted(rows) if after is None or step > after]


def read_samples(path: Path | str) -> list[dict[str, Any]]:
    """The sample rows by step; after a resume the last one of a step and prompt counts."""
    rows = {
        (row.get("step", 0), json.dumps(row.get("prompt"))): row for row in _read_lines(Path(path) / "samples.jsonl")
    }
    return sorted(rows.values(), key=lambda row: row.get("step", 0))


def read_report(path: Path | str) -> dict[str, Any] | None:
    return read_object(Path(path) / "report.json")


def list_checkpoints(path: Path | str) -> list[dict[str, Any]]:
    """The complete checkpoints, oldest first: `{"step", "path", "bytes", "saved_at"}`."""
    found = []
    for listing in sorted((Path(path) / "checkpoints").glob("step-*/checkpoint.json")):
        if entry := read_object(listing):
            size = sum(file.stat().st_size for file in listing.parent.iterdir())
            found.append(
                {"step": entry["step"], "path": listing.parent, "bytes": size, "saved_at": entry.get("saved_at")}
            )
    return sorted(found, key=lambda row: row["step"])


def tail_log(path: Path | str, after_line: int = 0) -> list[str]:
    """The complete log lines after the first `after_line`."""
    try:
        text = (Path(path) / "log.txt").read_text("utf-8", errors="replace")
    except OSError:
        return []
    return text.split("\n")[:-1][after_line:]


def lines_after(path: Path, after: int, limit: int) -> tuple[list[str], bool]:
    """At most `limit` complete lines of a file behind the first `after`, and whether there are more."""
    try:
        with path.open("rb") as file:
            complete = (line for line in file if line.endswith(b"\n"))
            found = list(islice(complete, after, after + limit + 1))
    except OSError:
        return [], False
    return [line[:-1].decode("utf-8", errors="replace") for line in found[:limit]], len(found) > limit


def note(path: Path | str, level: str, text: str) -> None:
    """Add a line to the log of a run whose process is gone: one write to the end, behind what that left of a line."""
    log = Path(path) / "log.txt"
    with suppress(OSError):
        _drop_half_line(log)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {level} {text}\n")


def process_started(pid: int) -> int | None:
    """When a live process began, in a unit that only serves to tell it from a later one with the same pid."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        if Path("/proc/self/stat").exists():
            return None
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607 (macOS; the path differs between systems)
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return int(time.mktime(time.strptime(shown))) if shown else None


def is_alive(pid: int | None, started: int | None) -> bool:
    """Whether the very process that wrote this pid and start time still runs."""
    return pid is not None and started is not None and process_started(pid) == started


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")[:-1]
    except OSError:
        return
    yield from (row for line in lines if (row := object_in(line)) is not None)


def _drop_half_line(path: Path) -> None:
    """Cut what a killed process left of its last line, so that the next line starts clean."""
    try:
        with path.open("rb+") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
    except FileNotFoundError:
        return


def _number(value: float | int | None) -> float | int | None:
    if isinstance(value, bool) or value is None:
        return value
    return value if math.isfinite(value) else None
