"""System checks of the installation itself."""

import sqlite3
from typing import Any

from django.core.checks import CheckMessage, Warning, register
from django.db import connection

# SQLite 3.7.0 to 3.51.2 can lose a WAL reset when two connections meet at a checkpoint.
WAL_RESET_FIXED = (3, 51, 3)


@register("database")
def sqlite_is_sound(**kwargs: Any) -> list[CheckMessage]:
    """Warns when the SQLite library linked into Python carries the WAL-reset bug."""
    if connection.vendor != "sqlite" or sqlite3.sqlite_version_info >= WAL_RESET_FIXED:
        return []
    return [
        Warning(
            f"SQLite {sqlite3.sqlite_version} has a rare bug that can damage a database in WAL mode.",
            hint="Use a Python built against SQLite 3.51.3 or newer, or set DATABASE_URL to a PostgreSQL database.",
            id="hone.W001",
        )
    ]
