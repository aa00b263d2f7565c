"""Write transactions, one at a time in each process where the database lets in only one anyway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django.db import connection, transaction

# SQLite makes writers wait by sleeping and trying again, which is unfair: with 64 saturating threads the slowest waited
# 3.7 s. Standing in line for this lock first brings that to about half a second at the same rate.
_one_writer = threading.RLock()


@contextmanager
def write_transaction() -> Iterator[None]:
    """One short transaction that writes: keep rendering, HTTP, files and models out of it.

    Inside another transaction it is a part of that one and makes no savepoint, so that the hot path stays at a few
    statements; raise what the caller may catch after the block, not in it. The lock is left alone there: whoever holds
    it waits for the database, which the outer transaction already has.
    """
    alone = connection.vendor == "sqlite" and not connection.in_atomic_block
    with _one_writer if alone else nullcontext(), transaction.atomic(savepoint=False):
        yield


def changed(sql: str, **values: Any) -> int:
    """How many rows the statement changed: for what every judgement runs and the ORM would compose anew each time."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)
