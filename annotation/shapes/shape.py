"""What a foreign shape is, and what of the project it must know to give records that the project can take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from annotation.models import Project
from annotation.questions import questions_of

Row = dict[str, Any]
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """The project's kind, the points of each aspect (0 where it is answered A, same or B), and its flags.

    `annotator` is whose judgement a label or a score without a name is; "" for nobody's.
    """

    kind: str
    aspects: dict[str, int]
    flags: tuple[str, ...] = ()
    annotator: str = "imported"

    @classmethod
    def of(cls, project: Project, annotator: str = "imported") -> Target:
        asked = questions_of(project)
        aspects = {aspect["name"]: int(aspect.get("points") or 0) for aspect in asked["aspects"]}
        return cls(project.kind, aspects, tuple(flag["name"] for flag in asked["flags"]), annotator)


@dataclass(frozen=True)
class Shape:
    """One family of records. `records` gives what one row becomes, in Hone's own fields, or raises CleaningError."""

    name: str
    label: str  # as people read it
    recognises: Callable[[Row], bool]  # asked of each of a file's first rows
    records: Callable[[Row, Target], Iterable[Row]]


def without(row: Row, *names: str) -> Iterator[tuple[str, Any]]:
    """The fields of a row that a shape did not use: they become metadata."""
    return ((name, value) for name, value in row.items() if name not in names)
