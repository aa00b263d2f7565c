"""`serve`: the web server and the worker as two processes that live and end together; training outlives both."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from annotation.models import User

RESTART_AFTER = 2.0  # seconds; a worker that dies at once must not be started in a tight loop
GRACE = 15.0  # seconds to end in before a process is killed


def unapplied_migrations() -> list[str]:
    """The names of the migrations that the database does not have yet."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def first_admin(name: str = "admin") -> str | None:
    """The random password of the site admin made now; None when there is one already."""
    if User.objects.filter(is_superuser=True, is_active=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    while User.objects.filter(username=name).exists():
        name += "-"
    User.objects.create_superuser(name, password=password)
    return password


def collect_static() -> None:
    """Put the static files where they are served from, unless nothing changed since the last time."""
    paths = [Path(storage.path(name)) for finder in get_finders() for name, storage in finder.list([])]
    newest = str(max((path.stat().st_mtime_ns for path in paths), default=0)) + f" {len(paths)}"
    marker = Path(settings.STATIC_ROOT) / ".collected"
    if not marker.is_file() or marker.read_text() != newest:
        call_command("collectstatic", interactive=False, verbosity=0)
        marker.write_text(newest)


def port_is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError):  # the second for a number that is no port
            return False
    return True


def serve(host: str, port: int, workers: int, threads: int, announce: Callable[[], None]) -> int:
    """Run web server and worker until one asks for the end; the exit code of the web server.

    `announce` is called once, when the address answers. A worker that dies is started again.
    """
    web, worker = _start_web(host, port, workers, threads), _start_worker()
    stopping: list[int] = []
    previous = {each: signal.signal(each, lambda number, _: stopping.append(number)) for each in _SIGNALS}
    announced, started = False, time.monotonic()
    try:
        while web.poll() is None and not stopping:
            if not announced and _answers(host, port):
                announce()
                announced = True
            if worker.poll() is not None and time.monotonic() - started > RESTART_AFTER:
                worker, started = _start_worker(), time.monotonic()
            time.sleep(0.2)
    finally:
        _end([web, worker])
        for each, handler in previous.items():
            signal.signal(each, handler)
    return 0 if stopping else web.returncode or 1


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _start_web(host: str, port: int, workers: int, threads: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rlhf.web", "--host", host, "--port", str(port)]
    return _start([*command, "--workers", str(workers), "--threads", str(threads), "--parent", str(os.getpid())])


def _start_worker() -> subprocess.Popen[bytes]:
    return _start([sys.executable, "manage.py", "worker", "--skip-checks", "--parent", str(os.getpid())])


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
    environment = os.environ | {"HONE_DATA": str(settings.HONE_DATA)}
    return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, start_new_session=True)


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
