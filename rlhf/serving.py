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


class PortTaken(Exception):
    """Nothing can be served at this address, in one sentence."""


def unapplied_migrations() -> list[str]:
    """The names of the migrations that the database does not have yet."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def site_admin(name: str = "admin") -> User:
    """The site's first admin, made when there is none; nobody knows a password of theirs until one is told."""
    if admin := User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first():
        return admin
    while User.objects.filter(username=name).exists():
        name += "-"
    return User.objects.create_superuser(name)


def first_password(admin: User) -> str | None:
    """A random password for an admin who never had one, to be shown now; None for any other."""
    if admin.has_usable_password() or admin.last_login:
        return None
    admin.set_password(password := secrets.token_urlsafe(12))
    admin.save(update_fields=["password"])
    return password


def collect_static() -> None:
    """Put the static files where they are served from, unless nothing changed since the last time."""
    paths = [Path(storage.path(name)) for finder in get_finders() for name, storage in finder.list([])]
    newest = str(max((path.stat().st_mtime_ns for path in paths), default=0)) + f" {len(paths)}"
    marker = Path(settings.STATIC_ROOT) / ".collected"
    if not marker.is_file() or marker.read_text() != newest:
        call_command("collectstatic", interactive=False, verbosity=0)
        marker.write_text(newest)


def require_port(host: str, port: int) -> None:
    """PortTaken unless this address can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError):  # the second for a number that is no port
            raise PortTaken(f"{host}:{port} cannot be listened on; choose another one with --port.") from None


def become_supervisor(host: str, port: int, workers: int, threads: int) -> NoReturn:
    """Give this process, same id and same output, to rlhf.supervisor: all that was loaded till here would only wait."""
    connections.close_all()
    command = [sys.executable, "-m", "rlhf.supervisor", "--host", host, "--port", str(port)]
    command += ["--workers", str(workers), "--threads", str(threads)]
    os.chdir(settings.BASE_DIR)
    os.execve(sys.executable, command, os.environ | {"HONE_DATA": str(settings.HONE_DATA)})  # noqa: S606
