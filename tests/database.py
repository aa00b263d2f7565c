"""The migrated, empty SQLite database that tests begin from: made once, then copied, for migrating takes seconds."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent


def version() -> str:
    """What the schema follows from: Django's own migrations, and ours."""
    ours = sorted(path for app in ("annotation", "rlhf") for path in (ROOT / app / "migrations").glob("*.py"))
    text = b"".join(path.name.encode() + path.read_bytes() for path in ours)
    return hashlib.sha256(django.__version__.encode() + text).hexdigest()[:16]


def copy(source: str | Path, to: str | Path) -> None:
    """Copy a database over another, which is complete or not there; an empty one is not copied.

    Both may be paths or `file:` addresses.
    """
    part = to.with_suffix(f".{os.getpid()}") if isinstance(to, Path) else to
    with closing(_opened(source)) as one:
        if not one.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return
        with closing(_opened(part)) as two:
            one.backup(two)
    if isinstance(part, Path):
        part.replace(to)


def migrate(path: Path) -> None:
    """A new database file with all tables and nothing in them."""
    part = path.with_suffix(f".new{os.getpid()}")
    words = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"]
    subprocess.run(words, env=os.environ | {"DATABASE_URL": f"sqlite:///{part}"}, check=True)
    copy(part, path)
    part.unlink()


def _opened(name: str | Path) -> sqlite3.Connection:
    return sqlite3.connect(str(name), uri=str(name).startswith("file:"))
