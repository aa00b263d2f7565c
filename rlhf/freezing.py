"""Which judgements are part of a snapshot: they may not change any more. Read from the snapshots' manifests."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from annotation.models import Annotation
from rlhf.models import Snapshot

KEPT = 8  # manifests kept in memory, eight bytes a judgement; a folder is named by its content and never changes


def holders(annotations: list[Annotation]) -> dict[int, str]:
    """{annotation id: name of the first snapshot that holds it}, for those that some snapshot holds."""
    found: dict[int, str] = {}
    by_project: dict[int, list[Annotation]] = {}
    for annotation in annotations:
        by_project.setdefault(annotation.project_id, []).append(annotation)
    for project, asked in by_project.items():
        # What was judged after a snapshot was cut cannot be in it, so the usual undo reads no manifest at all.
        earliest = min(annotation.created_at for annotation in asked)
        for snapshot in Snapshot.objects.filter(project=project, created_at__gte=earliest).order_by("pk"):
            held = _held(snapshot.folder)
            found |= {one.pk: str(snapshot) for one in asked if one.pk not in found and _contains(held, one.pk)}
    return found


def _contains(held: array[int], pk: int) -> bool:
    place = bisect_left(held, pk)
    return place < len(held) and held[place] == pk


@lru_cache(maxsize=KEPT)
def _held(folder: Path) -> array[int]:
    """The ids in a manifest, sorted; none when somebody has removed the folder."""
    try:
        rows: Iterable[list[int]] = json.loads((folder / "manifest.json").read_text("utf-8"))["annotations"]
    except FileNotFoundError:
        return array("q")
    return array("q", sorted(pk for pk, _ in rows))
