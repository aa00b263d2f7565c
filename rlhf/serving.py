"""What `serve` sees to before the site is up: the database, the first account, the static files, a free port."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import NoReturn

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from annotation.models import User
from training import machine

WORKERS = min(2, machine.cores())  # web processes: a third one would take memory from training and gain little


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


def become_supervisor(host: str, port: int, workers: int, threads: int) -> NoReturn:
    """Give this process, same id and same output, to rlhf.supervisor: all that was loaded till here would only wait."""
    connections.close_all()
    command = [sys.executable, "-m", "rlhf.supervisor", "--host", host, "--port", str(port)]
    command += ["--workers", str(workers), "--threads", str(threads)]
    os.chdir(settings.BASE_DIR)
    os.execve(sys.executable, command, os.environ | {"HONE_DATA": str(settings.HONE_DATA)})  # noqa: S606
