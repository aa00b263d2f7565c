"""The rows of one source on their way in: read, recognised, put into Hone's fields, mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from annotation import mapping, reading, shapes
from annotation.cleaning import CleaningError, kind_of
from annotation.mapping import Mapping
from annotation.reading import Read, UnreadableFile, hub
from annotation.shapes import Shape, Target

FORMATS = (*reading.FORMATS, *shapes.NAMES)
LOOKED_AT = 20  # first rows that the shape and the fields are told from
EXAMPLE = 80  # characters of a field's first value


@dataclass
class Column:
    """One field of the file: in how many records it holds something, and what it first says."""

    filled: int = 0
    example: str = ""


@dataclass
class Incoming:
    """Records in Hone's fields, each with its line, and what was found out about where they come from."""

    container: str  # jsonl, csv, …; "records" for what a program sent
    shape: Shape
    mapping: Mapping
    rows: Read
    columns: dict[str, Column] = field(default_factory=dict)
    counted: bool = False  # whether `columns` is filled while the rows go by

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
        rows = self._counting() if self.counted else self.rows
        if not self.mapping:
            yield from rows
            return
        for line, row in rows:
            if isinstance(row, CleaningError):
                yield line, row
                continue
            try:
                yield line, self.mapping.apply(row)
            except CleaningError as error:
                yield line, error

    def _counting(self) -> Read:
        for line, row in self.rows:
            if not isinstance(row, CleaningError):
                for name, value in row.items():
                    if value not in (None, "", [], {}):
                        column = self.columns.setdefault(name, Column())
                        column.filled += 1
                        column.example = column.example or shown(value)
            yield line, row

    def as_dict(self) -> dict[str, Any]:
        """What a report tells of it."""
        return {"container": self.container, "shape": self.shape.name, "mapping": dict(self.mapping.becomes)}


def opened(
    source: Path | str | Iterable[Any],
    target: Target,
    *,
    format: str | None = None,
    given: dict[str, str] | None = None,
    remembered: dict[str, str] | None = None,
    counted: bool = False,
) -> Incoming:
    """The records of a file, a folder or an iterable; `format` names a container or a shape, `given` maps fields.

    Without `given`, fields become what `remembered` says of them, or what their names speak for (mapping.guess).
    """
    if format is not None and format not in FORMATS:
        raise UnreadableFile(f"The format must be one of {', '.join(FORMATS)}, not {format!r}.")
    named = format if format in shapes.NAMES else None
    container, rows = _read(source, None if named else format)
    rows, first = _peeked(rows)
    shape = shapes.SHAPES[named] if named else shapes.detect(first)
    folder = Path(source).parent if isinstance(source, str | Path) else None
    rows, first = _peeked(shapes.records(rows, shape, target, folder))
    names = dict.fromkeys(name for row in first for name in row)
    if given is None:
        given = mapping.guess(names)
        given |= {name: target for name, target in (remembered or {}).items() if name in names}
        given = mapping.without_doubles(given, remembered or {})
    chosen = Mapping.of(given)
    return Incoming(container, shape, chosen, rows, counted=counted)


def _read(source: Path | str | Iterable[Any], container: str | None) -> tuple[str, Read]:
    if hub.is_name(source):
        return "hub", hub.read(str(source))
    if isinstance(source, str | Path):
        path = Path(source)
        container = container or reading.detect(path)
        return container, reading.read(path, container)
    return "records", ((number, _given(value)) for number, value in enumerate(source, start=1))


def _given(value: Any) -> dict[str, Any] | CleaningError:
    if isinstance(value, dict):
        return value
    return CleaningError("", f'Must be an object such as {{"prompt": "…"}}, not {kind_of(value)}.')


def _peeked(rows: Read) -> tuple[Read, list[dict[str, Any]]]:
    """The same rows, and the good ones among the first."""
    first = list(islice(rows, LOOKED_AT))
    return chain(first, rows), [row for _, row in first if not isinstance(row, CleaningError)]


def shown(value: Any) -> str:
    """The start of a value in one line, as a table shows it."""
    if isinstance(value, list) and value and isinstance(value[-1], dict) and isinstance(value[-1].get("content"), str):
        value = value[-1]["content"]
    return " ".join(str(value)[: 4 * EXAMPLE].split())[:EXAMPLE]
