"""Records out of files, one at a time with their line, in whatever container they come.

Every reader yields `(line, record)`; in place of a broken record stands the CleaningError that says why. Trouble after
which nothing more can be read (a truncated archive, an unclosed quote) raises UnreadableFile instead.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotation.cleaning import CleaningError
from annotation.reading import archives, arrays, arrow, lines, tables
from annotation.reading.archives import UnreadableFile
from annotation.reading.pieces import Piece

__all__ = ["FORMATS", "IN_PIECES", "Read", "UnreadableFile", "detect", "pieces", "read"]

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
}
TEXT_READERS = {"jsonl": lines.read, "json": arrays.read, "csv": tables.read, "tsv": tables.read}
FORMATS = (*TEXT_READERS, "parquet", "datasets")
IN_PIECES = {"jsonl"}

Read = Iterator[tuple[int, dict[str, Any] | CleaningError]]


def read(path: Path, format: str | None = None) -> Read:
    """The records of a file or a saved `datasets` folder, each with its line (in Parquet and folders: its row)."""
    format = format or detect(path)
    if not path.exists():
        raise UnreadableFile(f"There is no file {path.name}.")
    if path.is_file() and archives.is_zip(path):
        with archives.extracted(path) as inner:
            yield from read(inner, format)
        return
    if format not in FORMATS:
        raise UnreadableFile(f"The format must be one of {', '.join(FORMATS)}, not {format!r}.")
    if path.is_dir() != (format == "datasets"):
        raise UnreadableFile(f"{path.name} does not hold {format}; only a saved datasets folder is a folder.")
    found = False
    for item in _records(path, format):
        found = True
        yield item
    if not found:
        raise UnreadableFile(f"{path.name} holds no records.")


def _records(path: Path, format: str) -> Read:
    if format == "datasets":
        yield from arrow.read_saved_dataset(path)
    elif format == "parquet":
        yield from arrow.read_parquet(path)
    else:
        with archives.unpacked(path) as handle:
            yield from TEXT_READERS[format](handle)


def pieces(path: Path, format: str, size: int) -> Iterator[Piece]:
    """The same for a file of one of the formats IN_PIECES, up to `size` rows at a time."""
    if archives.is_zip(path):
        with archives.extracted(path) as inner:
            yield from pieces(inner, format, size)
        return
    with archives.unpacked(path) as handle:
        yield from lines.read_pieces(handle, size)


def encoding(path: Path, container: str) -> str:
    """A text file's encoding, "" for anything else: only UTF-8 comes in, with a byte-order mark or without."""
    if container not in TEXT_READERS:
        return ""
    if archives.is_zip(path):
        return "UTF-8"
    with archives.unpacked(path) as handle:
        return "UTF-8 with BOM" if handle.read(3) == codecs.BOM_UTF8 else "UTF-8, no BOM"


def detect(path: Path) -> str:
    """The format that first bytes and name speak for."""
    if not path.exists():
        raise UnreadableFile(f"There is no file {path.name}.")
    if path.is_dir():
        if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            return "datasets"
        raise UnreadableFile(f"{path.name} is a folder, but not one that datasets' save_to_disk wrote.")
    if archives.is_zip(path):
        with archives.extracted(path) as inner:
            return detect(inner)
    with archives.unpacked(path) as handle:
        start = handle.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    named = SUFFIXES.get(Path(path.name.removesuffix(".gz")).suffix.lower())
    if named in (None, "json", "jsonl") and start[:1] in (b"[", b"{"):
        # A .json file of one object a line is common, and so is a .jsonl file that holds one array.
        return "json" if start[:1] == b"[" else "jsonl"
    if named is None:
        raise UnreadableFile(f"The format of {path.name} is not known; name it: {', '.join(FORMATS)}.")
    return named
