"""Other labeling tools in virtual environments of their own, under bench/.peers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labeling.account import figures
from labeling.client import Client
from labeling.loop import Judge, run

PEERS = Path(__file__).resolve().parent.parent / ".peers"
JOB_SECONDS = 300


def installed(name: str, *packages: str) -> Path:
    """The folder of the programs of `packages`, installed the first time they are asked for."""
    folder = PEERS / name
    ready = folder / ".ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
        ready.touch()
    return folder / "bin"


def with_tables(name: str, folder: Path, database: str, make: Callable[[Path], None]) -> None:
    """Put the empty `database` file into `folder`; `make` creates its tables the first time, which can take minutes."""
    kept = PEERS / f"{name}-tables"
    if not (kept / ".ready").exists():
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        make(kept)
        (kept / ".ready").touch()
    shutil.copy(kept / database, folder / database)


def judged(
    clients: dict[str, Client], judge: Judge, seconds: float, stored: Callable[[], list[dict[str, Any]]]
) -> dict[str, Any]:
    """The figures of a crowd that judged, and the account of what `stored` holds afterwards."""
    told = run(clients, judge, seconds=seconds)
    return figures(told, stored()) | {"annotators": len(clients)}


def timed(work: Callable[[], int]) -> dict[str, Any]:
    """How many rows a second `work`, which gives its rows, goes through."""
    began = time.perf_counter()
    rows = work()
    seconds = time.perf_counter() - began
    return {"rows": rows, "seconds": round(seconds, 2), "rows_per_s": round(rows / seconds)}


def sent(client: Client, method: str, path: str, body: Any = None, *, expect: tuple[int, ...] = (200, 201)) -> Any:
    """The JSON of the answer; ValueError unless its status is one of `expect`."""
    status, answer = client.send(method, path, body)
    if status not in expect:
        raise ValueError(f"{method} {path.split('?')[0]} answered {status}")
    return answer


def until(done: Callable[[], Any]) -> Any:
    """What `done` gives once it gives something."""
    deadline = time.monotonic() + JOB_SECONDS
    while time.monotonic() < deadline:
        if found := done():
            return found
        time.sleep(0.1)
    raise RuntimeError(f"A job did not end in {JOB_SECONDS} s.")
