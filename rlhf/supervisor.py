"""`serve`: the web server and the worker as two processes that live and end together; training outlives both.

The process that does nothing but wait for them loads the standard library alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

RESTART_AFTER = 2.0  # seconds; a worker that dies at once must not be started in a tight loop
GRACE = 15.0  # seconds to end in before a process is killed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rlhf.supervisor", description="Started by manage.py serve.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    if code := serve(options.host, options.port, options.workers, options.threads):
        sys.exit(f"CommandError: The web server ended with code {code}.")


def serve(host: str, port: int, workers: int, threads: int) -> int:
    """Run web server and worker until one asks for the end; the exit code of the web server.

    Says once where the site is, when the address answers. A worker that dies is started again.
    """
    stopping: list[int] = []
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: stopping.append(number))
    web, worker = _start_web(host, port, workers, threads), _start_worker()
    announced, started = False, time.monotonic()
    try:
        while web.poll() is None and not stopping:
            if not announced and _answers(host, port):
                shown = f"[{host}]" if ":" in host else host
                print(f"Hone is at http://{shown}:{port}/ (Ctrl-C ends it; training goes on)", flush=True)
                announced = True
            if worker.poll() is not None and time.monotonic() - started > RESTART_AFTER:
                worker, started = _start_worker(), time.monotonic()
            time.sleep(0.2)
    finally:
        _end([web, worker])
    return 0 if stopping else web.returncode or 1


def _start_web(host: str, port: int, workers: int, threads: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rlhf.web", "--host", host, "--port", str(port)]
    return _start([*command, "--workers", str(workers), "--threads", str(threads), "--parent", str(os.getpid())])


def _start_worker() -> subprocess.Popen[bytes]:
    return _start([sys.executable, "manage.py", "worker", "--skip-checks", "--parent", str(os.getpid())])


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
    return subprocess.Popen(command, start_new_session=True)


def _answers(host: str, port: int) -> bool:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared with, not bound
    try:
        with socket.create_connection((reachable, port), timeout=1):
            return True
    except OSError:
        return False


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(timeout=max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
