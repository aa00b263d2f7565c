"""CSV and TSV: a header row, then one record a row; cells that hold lists or objects are JSON."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from annotation import cleaning
from annotation.cleaning import CleaningError
from annotation.reading.archives import UnreadableFile
from annotation.reading.lines import MAX_RECORD, physical_lines

JSON_CELLS = {"responses", "ranks", "metadata", "gold", "annotations"}
MAYBE_JSON_CELLS = {"prompt", "chosen", "rejected", "completion"}  # text, or a list of messages
LIST_CELLS = {"completions", "labels"}  # lists of other tools' shapes; any other text under such a name is text
LONE_RETURN = re.compile(r"(?<=\r)(?!\n|$)")  # some spreadsheets still end lines with nothing else
QUOTED_FORMULA = re.compile(r"'+[=+\-@\t\r]")


def read(handle: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """The rows as records: empty cells are left out, and an export's guard against formulas is taken off."""
    csv.field_size_limit(MAX_RECORD)
    numbered = _text_lines(handle)
    first = next(numbered, "")
    rows = csv.reader(_chain(first, numbered), delimiter=_delimiter(first), strict=True)
    header: list[str] = []
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableFile(f"Line {line}: {_explained(str(error))}") from None
        if not header:
            header = _header(row)
        elif any(row):
            yield line, _record(header, row)


def cell_out(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; `cell_in` gives the text back."""
    return "'" + text if re.match(r"'*[=+\-@\t\r]", text) else text


def cell_in(text: str) -> str:
    return text[1:] if QUOTED_FORMULA.match(text) else text


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _text_lines(handle: BinaryIO) -> Iterator[str]:
    for number, line in physical_lines(handle):
        if isinstance(line, CleaningError):
            raise UnreadableFile(f"Line {number}: {line.message}")
        try:
            text = cleaning.decode(line) if number == 1 else line.decode()
        except CleaningError as error:
            raise UnreadableFile(f"Line {number}: {error.message}") from None
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise UnreadableFile(f"Line {number}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8.") from None
        if "\r" in text[:-2]:
            yield from LONE_RETURN.split(text)
        else:
            yield text


def _delimiter(header: str) -> str:
    """Comma, tab or semicolon: whichever the header uses most."""
    return max(",\t;", key=header.count)


def _header(row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    if not all(names):
        raise UnreadableFile("Line 1: a column has no name.")
    if len(set(names)) < len(names):
        raise UnreadableFile("Line 1: two columns have the same name.")
    return names


def _record(header: list[str], row: list[str]) -> dict[str, Any] | CleaningError:
    if len(row) != len(header):
        return CleaningError(
            "", f"Has {len(row)} cells where the header has {len(header)}; look for an unquoted comma."
        )
    try:
        return {name: cell_value(name, cell_in(cell)) for name, cell in zip(header, row, strict=True) if cell}
    except CleaningError as error:
        return error


def cell_value(name: str, cell: str) -> Any:
    """What a text cell of that column holds: itself, or the value of its JSON."""
    begins = "[" if name in LIST_CELLS else "[{" if name in MAYBE_JSON_CELLS else None
    if name in JSON_CELLS or (begins and cell.lstrip().startswith(begins)):
        try:
            return cleaning.strict_json(cell)
        except CleaningError as error:
            if name not in JSON_CELLS:
                return cell
            raise CleaningError(name, error.message) from None
    return cell


def _explained(error: str) -> str:
    if "unexpected end of data" in error:
        return "a quote is opened and never closed."
    if "expected after" in error:
        return "a quoted cell is followed by more text; double the quotes inside a cell."
    return f"is not valid CSV: {error}."
