"""JSON Lines: one record a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, BinaryIO

import orjson

from annotation import cleaning
from annotation.cleaning import CleaningError
from annotation.reading.archives import UnreadableFile
from annotation.reading.pieces import Columns, Piece, Raw, by_columns

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
MAX_RECORD = 16 * 1024 * 1024  # bytes

Line = tuple[int, bytes | CleaningError]


def read(handle: BinaryIO) -> Iterator[Raw]:
    """The records of a JSON Lines file; empty lines are passed over."""
    return _records(physical_lines(handle))


def read_pieces(handle: BinaryIO, size: int) -> Iterator[Piece]:
    """The same, up to `size` lines at a time."""
    parts, number = _parts(handle), 1
    while some := _taken(parts, size):
        if len(some[-1]) > MAX_RECORD:  # its end is still to come
            yield Piece(partial(_records, list(islice(_lines(chain(some, parts), number), len(some)))))
        else:
            numbers = range(number, number + len(some))
            yield Piece(partial(_records, zip(numbers, some, strict=True)), _columns(some), list(numbers))
        number += len(some)


def _taken(parts: Iterator[bytes], size: int) -> list[bytes]:
    """The next lines, up to an overlong one: of those no second one is kept."""
    taken: list[bytes] = []
    for part in islice(parts, size):
        taken.append(part)
        if len(part) > MAX_RECORD:
            break
    return taken


def _records(lines: Iterable[Line]) -> Iterator[Raw]:
    for number, line in lines:
        if isinstance(line, CleaningError):
            yield number, line
        elif number == 1 and line.startswith(UTF_16):
            raise UnreadableFile("Line 1: The file is UTF-16; save it as UTF-8.")
        elif line.strip():
            yield number, record_of(line)


def _columns(lines: list[Any]) -> Columns | None:
    """What the objects of all these lines hold, in a third of the time that they take one by one.

    That is, if each line is an object of texts and lists of texts alone. A fast parser keeps the last of two fields of
    one name and says nothing, but such a field's quotes are in the line, so that they are more than its texts need.
    """
    import numpy as np  # only an import of many pays for loading it

    try:
        joined, rows = b"".join(lines), list(map(orjson.loads, lines))
    except (TypeError, ValueError):
        return None
    columns = by_columns(rows)
    if columns is None or (texts := _texts(list(columns.values()))) is None:
        return None
    quotes = 2 * (len(columns) * len(rows) + len(texts))
    if b"\\" in joined:
        if b"\\u0022" in joined:  # a quote without the character
            return None
        quotes += "".join(texts).count('"')
    return columns if np.count_nonzero(np.frombuffer(joined, dtype=np.uint8) == ord('"')) == quotes else None


def _texts(columns: list[list[Any]]) -> list[str] | None:
    """All texts of columns that hold texts and lists of texts; None where there is anything else."""
    found: list[str] = []
    for values in columns:
        kinds = set(map(type, values))
        found += chain.from_iterable(values) if kinds == {list} else values
        if kinds not in ({str}, {list}):
            return None
    return found if set(map(type, found)) == {str} else None


def physical_lines(handle: BinaryIO) -> Iterator[Line]:
    """Lines that end at a line feed and nowhere else (U+2028 is text); an overlong one is read past, not kept."""
    return _lines(_parts(handle), 1)


def _parts(handle: BinaryIO) -> Iterator[bytes]:
    return iter(partial(handle.readline, MAX_RECORD + 1), b"")


def _lines(parts: Iterator[bytes], number: int) -> Iterator[Line]:
    for part in parts:
        if len(part) <= MAX_RECORD:
            yield number, part
        else:
            while part and not part.endswith(b"\n"):
                part = next(parts, b"")
            yield number, CleaningError("", f"Is longer than {MAX_RECORD >> 20} MB.")
        number += 1


def record_of(text: bytes | str) -> dict[str, Any] | CleaningError:
    """One object out of its JSON text, or what is wrong with it."""
    try:
        value = cleaning.strict_json(text.strip())
    except CleaningError as error:
        # The record's own line is told beside the message; "line 1" of one line is noise.
        message = error.message.replace("at line 1, column", "at column").replace(" at line 1 cannot", " cannot")
        return CleaningError(error.field, message)
    if not isinstance(value, dict):
        return CleaningError("", f'Must be an object such as {{"prompt": "…"}}, not {cleaning.kind_of(value)}.')
    return value
