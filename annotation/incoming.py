"""The rows of one source on their way in: read, recognised, put into Hone's fields, mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from annotation import mapping, reading, shapes
from annotation.cleaning import CleaningError, kind_of
from annotation.mapping import Mapping
from annotation.personal import MOSTLY, Personal, is_personal
from annotation.reading import Read, UnreadableFile, hub
from annotation.reading.pieces import Piece, of_rows
from annotation.shapes import Shape, Target

FORMATS = (*reading.FORMATS, *shapes.NAMES)
Recall = Callable[[Iterable[str]], dict[str, str] | None]
LOOKED_AT = 20  # first rows that the shape and the fields are told from
GIVEN, REMEMBERED, GUESSED = "given", "remembered", "guessed"  # where a mapping comes from
EXAMPLE = 80  # characters of a field's first value


@dataclass
class Column:
    """One field of the file: in how many records it holds something, and what it first says."""

    filled: int = 0
    example: str = ""  # kept back where the column is personal
    personal: bool = False


@dataclass
class Incoming:
    """Records in Hone's fields, each with its line, and what was found out about where they come from."""

    container: str  # jsonl, csv, …; "records" for what a program sent
    shape: Shape
    mapping: Mapping
    rows: Read
    mapped: str = GUESSED
    names: set[str] = field(default_factory=set)  # fields of the first rows
    encoding: str = ""  # what a text file is encoded in
    columns: dict[str, Column] = field(default_factory=dict)
    personal: Personal = field(default_factory=Personal)
    counted: bool = False  # whether `columns` and `personal` are filled while the rows go by
    as_it_is: Path | None = None  # the file, where its rows are Hone's own records without a change

    def pieces(self, size: int) -> Iterator[Piece]:
        """All records, up to `size` at a time."""
        if self.as_it_is and self.container in reading.IN_PIECES and not self.mapping and not self.counted:
            return reading.pieces(self.as_it_is, self.container, size)
        return of_rows(self, size)

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
                self.personal.look(line, row)
            yield line, row

    def described(self) -> dict[str, Column]:
        """Each field; what a personal one says is not shown."""
        for one in self.personal.in_order():
            column = self.columns[one.field]
            if one.count > MOSTLY * column.filled:
                column.personal, column.example = True, ""
        return self.columns

    def as_dict(self) -> dict[str, Any]:
        """What a report tells of it."""
        told = {"container": self.container, "shape": self.shape.name, "encoding": self.encoding}
        return told | {"mapping": dict(self.mapping.becomes), "mapped": self.mapped}


def opened(
    source: Path | str | Iterable[Any],
    target: Target,
    *,
    format: str | None = None,
    given: dict[str, str] | None = None,
    recall: Recall | None = None,
    counted: bool = False,
    careful: bool = False,
) -> Incoming:
    """The records of a file, a folder or an iterable; `format` names a container or a shape, `given` maps fields.

    Without `given`, fields become what `recall` remembers for a file with these fields, else what their names speak for
    (mapping.guess). A `careful` guess leaves out columns that are nothing but e-mail addresses and the like.
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
    becomes, mapped = _becomes(given, names, recall)
    if careful and mapped == GUESSED:
        becomes = becomes | dict.fromkeys(_personal(first, names.keys() - becomes.keys()), mapping.LEAVE_OUT)
    path = Path(source) if isinstance(source, str | Path) else None
    return Incoming(
        container,
        shape,
        Mapping.of(becomes),
        rows,
        mapped,
        set(names),
        reading.encoding(path, container) if path else "",
        counted=counted,
        as_it_is=path if shapes.changes_nothing(shape, target) else None,
    )


def _becomes(given: dict[str, str] | None, names: Iterable[str], recall: Recall | None) -> tuple[dict[str, str], str]:
    """What the fields become, and where that comes from."""
    if given is not None:
        return given, GIVEN
    if recall and (known := recall(names)) is not None:
        return known, REMEMBERED
    return mapping.guess(names), GUESSED


def _personal(first: list[dict[str, Any]], names: Iterable[str]) -> list[str]:
    """Those of the fields, meaning nothing to us, that tell who somebody is."""
    plain = [name for name in names if name not in mapping.TARGETS and name not in mapping.LETTERED]
    return sorted(name for name in plain if is_personal([row.get(name) for row in first]))


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
