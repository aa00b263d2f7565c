"""What changed between two snapshots, compared once and kept: neither of them ever changes.

Small ones are compared while somebody waits, large ones by the worker; whoever asks meanwhile is told to ask again.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from django.db import transaction
from django_tasks import task

from rlhf import differences
from rlhf.models import Snapshot

SMALL = 10_000  # rows of both together
PATIENCE = 900.0  # seconds after which a comparison that was handed to the worker is handed to it again


def compared(older: Snapshot, newer: Snapshot) -> dict[str, Any] | None:
    """What differences.compare tells; None while the worker is at it."""
    kept = _path(older, newer)
    if kept.is_file():
        return dict(json.loads(kept.read_text("utf-8")))
    if older.rows + newer.rows <= SMALL:
        return compare_and_keep(older, newer)
    if _is_first(kept.with_suffix(".asked")):
        transaction.on_commit(lambda: compare_later.enqueue(older.pk, newer.pk))
    return None


def compare_and_keep(older: Snapshot, newer: Snapshot) -> dict[str, Any]:
    told = differences.compare(older, newer)
    kept = _path(older, newer)
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_name(f".{uuid.uuid4().hex}.tmp")
    unfinished.write_text(json.dumps(told), "utf-8")
    unfinished.replace(kept)
    kept.with_suffix(".asked").unlink(missing_ok=True)
    return told


@task()
def compare_later(older: int, newer: int) -> None:
    """The worker's part."""
    found = Snapshot.objects.in_bulk([older, newer])
    compare_and_keep(found[older], found[newer])


def _is_first(mark: Path) -> bool:
    """Whether nobody else asked lately; a worker that died must not leave its readers waiting for ever."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        if time.time() - mark.stat().st_mtime < PATIENCE:
            return False
        os.utime(mark)
    return True


def _path(older: Snapshot, newer: Snapshot) -> Path:
    name = f"{older.pk}-{older.content_hash[:16]}-{newer.pk}-{newer.content_hash[:16]}.json"
    return newer.folder.parent / ".compared" / name
