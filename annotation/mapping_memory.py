"""What fields became in a project's earlier imports: kept for the next file with these fields, however it comes in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from annotation import mapping
from annotation.models import Project, User

LOOKED_THROUGH = 50  # mappings, the latest first, for a file that lacks some fields of an earlier one


def recall(project: Project, columns: Iterable[str]) -> dict[str, str] | None:
    """The mapping said last for a file with exactly these fields, else for one that had these and more."""
    wanted = sorted(set(columns))
    same = project.mappings.filter(digest=_digest(wanted)).values_list("becomes", flat=True).first()
    if same is not None or not wanted:
        return same
    rows = project.mappings.values_list("columns", "becomes")[:LOOKED_THROUGH]
    return next((becomes for known, becomes in rows if set(wanted) <= set(known)), None)


def keep(project: Project, columns: Iterable[str], becomes: dict[str, str], by: User | None) -> None:
    """Remember a mapping for files with these fields; one that says what would be guessed anyway needs no memory."""
    names = sorted({*columns, *becomes})
    if becomes == mapping.guess(names):
        project.mappings.filter(digest=_digest(names)).delete()
        return
    said = {"columns": names, "becomes": becomes, "said_by": by}
    project.mappings.update_or_create(digest=_digest(names), defaults=said)


def _digest(columns: list[str]) -> str:
    return hashlib.sha256(json.dumps(columns).encode()).hexdigest()
