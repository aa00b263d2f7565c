"""JSON Lines: one record a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from annotation import cleaning
from annotation.cleaning import CleaningError
from annotation.reading.archives import UnreadableFile

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
MAX_RECORD = 16 * 1024 * 1024  # bytes


def read(handle: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """The records of a JSON Lines file; empty lines are passed over."""
    for number, line in physical_lines(handle):
        if isinstance(line, CleaningError):
            yield number, line
        elif number == 1 and line.startswith(UTF_16):
            raise UnreadableFile("Line 1: The file is UTF-16; save it as UTF-8.")
        elif line.strip():
            yield number, record_of(line)


def physical_lines(handle: BinaryIO) -> Iterator[tuple[int, bytes | CleaningError]]:
    """Lines that end at a line feed and nowhere else (U+2028 is text); an overlong one is read past, not kept."""
    number = 0
    while line := handle.readline(MAX_RECORD + 1):
        number += 1
        if len(line) <= MAX_RECORD:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = handle.readline(MAX_RECORD)
        yield number, CleaningError("", f"Is longer than {MAX_RECORD >> 20} MB.")


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
