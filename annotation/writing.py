"""Rows as bytes of a file, piece by piece: JSON Lines, CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from annotation.reading.tables import cell_out

_maker: Any = getattr(json.encoder, "c_make_encoder", None)
_plain, _ascii = (
    _maker and _maker(None, None, quote, None, ": ", ", ", False, False, False)
    for quote in (json.encoder.encode_basestring, json.encoder.encode_basestring_ascii)
)

Row = dict[str, Any]
Columns = dict[str, str]  # name → messages | texts | floats | json | text | integer | float | boolean

FIRST, PIECE = 20, 1000  # rows in the first piece, which should come at once, and in the others
GROUP = 10_000  # rows in one Parquet row group
BATCH = 2_000  # rows that wait as Python's objects while a group is gathered
NESTED = {"messages", "texts", "floats", "json"}  # JSON inside a CSV cell


def as_json(value: Any) -> str:
    """JSON as json.dumps gives it with ensure_ascii and allow_nan off, by one encoder made once."""
    return "".join(_plain(value, 0)) if _plain else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(values: Iterable[Any]) -> Iterator[str]:
    """Each value as as_json gives it, by the encoder that took the last one: the quicker can only say ASCII."""
    encode = _ascii
    for value in values:
        text = "".join(encode(value, 0)) if encode else as_json(value)
        if encode is _ascii and "\\u" in text:
            encode, text = _plain, as_json(value)
        elif encode is _plain and text.isascii():
            encode = _ascii
        yield text


def jsonl(rows: Iterable[Row], columns: Columns) -> Iterator[bytes]:
    names = list(columns)
    for piece in _pieces(rows):
        whole = (row if list(row) == names else {name: row.get(name) for name in names} for row in piece)
        yield ("\n".join(_lines(whole)) + "\n").encode()


def comma_separated(rows: Iterable[Row], columns: Columns) -> Iterator[bytes]:
    """CSV whose cells no spreadsheet takes for formulas; lists and objects are JSON."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    for piece in _pieces(rows, also_empty=True):
        table.writerows([_cell(row.get(name), kind) for name, kind in columns.items()] for row in piece)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return ""
    if kind in NESTED:
        return as_json(value)
    if kind == "boolean":
        return "true" if value else "false"
    return cell_out(value) if isinstance(value, str) else value


def parquet(rows: Iterable[Row], columns: Columns) -> Iterator[bytes]:
    schema = arrow_schema(columns)
    return parquet_of(batches(rows, columns, schema, BATCH), schema)


def parquet_of(found: Iterable[Any], schema: Any) -> Iterator[bytes]:
    """Record batches of BATCH rows as a Parquet file, piece by piece."""
    import pyarrow as pa  # only an import or export pays for loading it
    import pyarrow.parquet as pq

    sink, waiting = Sink(), []
    with pq.ParquetWriter(sink, schema, compression="zstd") as table:
        yield sink.taken()  # the file's mark, at once
        for batch in found:
            waiting.append(batch)
            if len(waiting) == GROUP // BATCH:
                table.write_table(pa.Table.from_batches(waiting))
                waiting = []
                yield sink.taken()
        if waiting:
            table.write_table(pa.Table.from_batches(waiting))
    yield sink.taken()


def batches(rows: Iterable[Row], columns: Columns, schema: Any, size: int) -> Iterator[Any]:
    """The rows as record batches of `size` rows each."""
    import pyarrow as pa

    kinds = list(columns.items())
    for piece in _pieces(rows, size):
        arrays = [_array([row.get(name) for row in piece], kind, schema.field(name).type) for name, kind in kinds]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(cells: list[Any], kind: str, type: Any) -> Any:
    import pyarrow as pa

    if kind == "json":
        return pa.array([None if cell is None else as_json(cell) for cell in cells], type)
    return pa.array(cells, type)


def arrow_schema(columns: Columns) -> Any:
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    kinds = {
        "messages": pa.list_(message),
        "texts": pa.list_(pa.string()),
        "floats": pa.list_(pa.float64()),
        "json": pa.string(),
        "text": pa.string(),
        "integer": pa.int64(),
        "float": pa.float64(),
        "boolean": pa.bool_(),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])


class Sink(io.RawIOBase):
    """A file that gives away what was written to it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        pieces, self.pieces = self.pieces, []
        return b"".join(pieces)


def to_file(pieces: Iterable[bytes], path: Path) -> int:
    """Write the pieces under another name, then rename: a reader never meets half a file."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as handle:
            for piece in pieces:
                handle.write(piece)
            handle.flush()
            os.fsync(handle.fileno())
        size = unfinished.stat().st_size
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return size


def _pieces(rows: Iterable[Row], size: int = PIECE, *, also_empty: bool = False) -> Iterator[list[Row]]:
    waiting = iter(rows)
    first = list(islice(waiting, FIRST if size == PIECE else size))
    if first or also_empty:
        yield first
    while piece := list(islice(waiting, size)):
        yield piece


Writer = Callable[[Iterable[Row], Columns], Iterator[bytes]]
WRITERS: dict[str, Writer] = {"jsonl": jsonl, "csv": comma_separated, "parquet": parquet}
FORMATS = tuple(WRITERS)
