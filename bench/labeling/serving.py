"""Servers under the bench: started on a free port, watched while they run, ended with everything they started."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path

import psutil

from labeling.client import Client

START_SECONDS = 300


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(
    commands: list[list[str]], *, port: int, path: str, environment: dict[str, str], log: Path, cwd: Path
) -> Iterator[list[float]]:
    """[peak memory of all of them in MB], growing while they run, from the moment that `path` answers on `port`."""
    with ExitStack() as stack:
        out = stack.enter_context(log.open("a"))
        processes = [
            subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=out, start_new_session=True)
            for command in commands
        ]
        try:
            _wait_for(port, path, processes[0], log)
            with watched(*(process.pid for process in processes)) as peak:
                yield peak
        finally:
            for process in processes:
                _end(process)


@contextmanager
def watched(*pids: int) -> Iterator[list[float]]:
    """[peak memory of the processes and their children in MB], looked at twice a second."""
    peak, done = [memory(*pids)], threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], memory(*pids))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def memory(*pids: int) -> float:
    """What the processes and their children take in MB now; pages that several share are counted once."""
    total = 0
    for process in [each for pid in pids for each in _family(pid)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return round(total / 2**20, 1)


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def _end(process: subprocess.Popen[bytes]) -> None:
    family = _family(process.pid)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
    for one in family:  # what a server left behind
        try:
            one.kill()
        except psutil.Error:
            continue
    process.wait()


def _wait_for(port: int, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended at once; its last words: {log.read_text()[-600:]}")
        try:
            status, _ = Client("127.0.0.1", port, {}).download(path)
        except (OSError, HTTPException):
            status = 0
        if 200 <= status < 400:
            return
        time.sleep(0.2)
    raise RuntimeError(
        f"{process.args[0]} did not start in {START_SECONDS} s; its last words: {log.read_text()[-600:]}"
    )
