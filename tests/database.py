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


def copy(source: Path, to: Path) -> None:
    """Copy a database over another, which is complete or not there."""
    part = to.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(part)) as two:
        one.backup(two)
    part.replace(to)


def migrate(path: Path) -> None:
    """A new database file with all tables and nothing in them."""
    part = path.with_suffix(f".new{os.getpid()}")
    words = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"]
    subprocess.run(words, env=os.environ | {"DATABASE_URL": f"sqlite:///{part}"}, check=True)
    copy(part, path)
    part.unlink()
