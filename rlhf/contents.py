"""Which judgements a snapshot holds, found without reading its manifest.

Beside the folders lies one file for each content: the ids, ascending, eight bytes each. A look-up is a binary search
in the mapped file, so that a snapshot of a million pairs costs no more than one of ten. The files say nothing that the
manifests do not say, and one that is missing is made from its manifest.
"""

from __future__ import annotations

import json
import os
import uuid
from array import array
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlhf.models import Snapshot

KEPT = 64  # mapped files kept open; a folder is named by its content and never changes


def store(folder: Path, ids: Iterable[int]) -> None:
    """Write the ids of the judgements that this folder holds."""
    import numpy as np  # only who cuts or looks pays for loading it

    path = _path(folder)
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
    sorted_ids = np.sort(np.asarray(ids if isinstance(ids, array) else array("q", ids), dtype="<i8"))
    with unfinished.open("wb") as file:
        np.save(file, sorted_ids)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def held(snapshot: Snapshot) -> Any:
    """The ids as an ascending array; empty when somebody has removed the folder."""
    return _held(snapshot.folder)


def among(snapshot: Snapshot, ids: Iterable[int]) -> list[int]:
    """Those of `ids` that the snapshot holds, ascending."""
    import numpy as np

    asked = np.unique(np.fromiter(ids, dtype=np.int64))
    inside = held(snapshot)
    places = np.searchsorted(inside, asked)
    found = asked[places < len(inside)]
    return [int(one) for one in found[inside[places[places < len(inside)]] == found]]


def after(snapshot: Snapshot, last: int, number: int) -> list[int]:
    """The next ids that the snapshot holds above `last`, ascending, at most so many."""
    inside = held(snapshot)
    place = int(inside.searchsorted(last, side="right"))
    return [int(one) for one in inside[place : place + number]]


@lru_cache(maxsize=KEPT)
def _held(folder: Path) -> Any:
    import numpy as np

    path = _path(folder)
    if not path.exists():
        try:
            rows = json.loads((folder / "manifest.json").read_text("utf-8")).get("annotations") or []
        except FileNotFoundError:
            return np.empty(0, dtype=np.int64)
        store(folder, (pk for pk, _ in rows))
    return np.load(path, mmap_mode="r")


def _path(folder: Path) -> Path:
    return folder.parent / ".contents" / f"{folder.name}.npy"
