"""Write transactions, one at a time where the database lets in only one anyway: first come, first served."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from annotation.prepared import prepared_cursor

# SQLite makes writers wait by sleeping and trying again, which is unfair: with 64 saturating threads the slowest waited
# 3.7 s, and between two processes one in twenty waited for twice as long as the rest. So writers stand in line first:
# the threads of a process for this lock, the processes for a lock on a file beside the database, which the system hands
# on in order and takes back from a process that is killed. What keeps data whole is still SQLite's own lock.
_one_writer = threading.RLock()
_lines: dict[tuple[int, str], int] = {}  # (process, database): its file, because a fork would share the parent's lock


@contextmanager
def write_transaction() -> Iterator[None]:
    """One short transaction that writes: keep rendering, HTTP, files and models out of it.

    Inside another transaction it is a part of that one and makes no savepoint, so that the hot path stays at a few
    statements; raise what the caller may catch after the block, not in it. The lock is left alone there: whoever holds
    it waits for the database, which the outer transaction already has.
    """
    here: Any = connections[DEFAULT_DB_ALIAS]
    if here.vendor != "sqlite" or here.in_atomic_block:
        with transaction.atomic(savepoint=False):
            yield
        return
    with _one_writer:
        line = None if here.is_in_memory_db() else _line(str(here.settings_dict["NAME"]))
        if line is not None:
            fcntl.flock(line, fcntl.LOCK_EX)
        try:
            with transaction.atomic(savepoint=False):
                yield
        finally:
            if line is not None:
                fcntl.flock(line, fcntl.LOCK_UN)


def changed(sql: str, **values: Any) -> int:
    """How many rows the statement changed: for what every judgement runs and the ORM would compose anew each time."""
    with prepared_cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


def _line(database: str) -> int:
    """The file on which the processes that write to this database stand in line."""
    key = (os.getpid(), database)
    if key not in _lines:
        _lines[key] = os.open(f"{database}-line", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    return _lines[key]
