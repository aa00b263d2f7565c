"""One JSON array of records, parsed element by element as it arrives, so that its size does not matter."""

from __future__ import annotations

import codecs
import itertools
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from annotation.cleaning import MAX_DEPTH, CleaningError
from annotation.reading.archives import UnreadableFile
from annotation.reading.lines import MAX_RECORD, record_of

BLOCK = 1 << 18  # bytes
LOOSE = json.JSONDecoder(parse_int=str, parse_float=str)  # only finds where a value ends; the strict one reads it


def read(handle: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """The elements of the array, each with the line it starts on, or with its number where one line holds them all."""
    text = _Window(handle)
    if text.next_character() != "[":
        raise UnreadableFile("The file must hold one JSON array of records, [ … ].")
    text.at += 1
    if text.next_character() == "]":
        text.at += 1
    else:
        yield from _elements(text)
    if text.next_character():
        raise UnreadableFile(f"Line {text.line}: there is more text after the end of the array.")


def _elements(text: _Window) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    before, numbered = 0, False
    for number in itertools.count(1):
        text.next_character()
        line = text.line
        numbered = numbered or (number == 2 and line == before)
        before = line
        yield number if numbered else line, record_of(text.value())
        following = text.next_character()
        text.at += 1
        if following == "]":
            return
        if following != ",":
            raise UnreadableFile(
                f"Line {text.line}: a comma or ] is missing after a record; the array is cut or damaged."
            )


class _Window:
    """A view on a JSON text that holds about one block or one record of it at a time."""

    def __init__(self, handle: BinaryIO) -> None:
        self.source, self.decoder = handle, codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at = "", 0
        self.lines_before, self.counted_to = 1, 0

    @property
    def line(self) -> int:
        self.lines_before += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        return self.lines_before

    def more(self) -> bool:
        """Drop what was read and add at least a block; False at the end of the file."""
        line = self.line
        data = self.source.read(max(BLOCK, len(self.text) - self.at))
        try:
            block = self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise UnreadableFile(f"After line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8.") from None
        self.text = self.text[self.at :] + block
        self.at = self.counted_to = 0
        return bool(data)

    def next_character(self) -> str:
        """The next character that is not white space, left in place; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def value(self) -> str:
        """The text of the next value. Where it ends must be known to go on, so a malformed one ends the reading."""
        while True:
            try:
                _, end = LOOSE.raw_decode(self.text, self.at)
            except RecursionError:
                raise UnreadableFile(
                    f"Line {self.line}: a record is nested more than {MAX_DEPTH} levels deep."
                ) from None
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - 16
                if cut and len(self.text) - self.at < MAX_RECORD and self.more():
                    continue
                raise UnreadableFile(f"Line {self.line}: a record is not valid JSON ({error.msg}).") from None
            taken, self.at = self.text[self.at : end], end
            return taken
