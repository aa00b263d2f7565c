"""The folder that `datasets.load_from_disk` reads, written with pyarrow alone: no web process loads `datasets`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from annotation.writing import GROUP, Columns, Row, Sink, arrow_schema, batches

DATA = "data-00000-of-00001.arrow"
Parts = dict[str, Callable[[], Iterable[Row]]]  # the rows of each split; "" is the one part of a set without splits
File = tuple[str, Iterable[bytes]]


def files(parts: Parts, columns: Columns) -> Iterator[File]:
    """The files of the folder, each with its bytes, which must be taken in order."""
    if "" not in parts:
        yield "dataset_dict.json", [_json({"splits": list(parts)})]
    for split, rows in parts.items():
        folder = f"{split}/" if split else ""
        digest = hashlib.sha256()
        yield folder + DATA, _counted(_arrow(rows(), columns), digest.update)
        state: dict[str, Any] = {
            "_data_files": [{"filename": DATA}],
            "_fingerprint": digest.hexdigest()[:16],
            "_format_columns": None,
        }
        state |= {"_format_kwargs": {}, "_format_type": None, "_output_all_columns": False, "_split": split or None}
        yield folder + "state.json", [_json(state)]
        info = {"citation": "", "description": "", "features": _features(columns), "homepage": "", "license": ""}
        yield folder + "dataset_info.json", [_json(info)]


def to_folder(found: Iterable[File], folder: Path) -> int:
    """Write the files under another name, then rename: a reader never meets half a folder. Gives its size in bytes."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(17, "It is there already and is not an empty folder", str(folder))
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    size = 0
    try:
        unfinished.mkdir()
        for name, pieces in found:
            path = unfinished / name
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as handle:
                size += sum(handle.write(piece) for piece in pieces)
                handle.flush()
                os.fsync(handle.fileno())
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return size


def zipped(found: Iterable[File], top: str) -> Iterator[bytes]:
    """The files below the folder `top` in one zip, piece by piece; equal files give equal bytes."""
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in found:
            entry = zipfile.ZipInfo(f"{top}/{name}")
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    yield sink.taken()
    yield sink.taken()


def _arrow(rows: Iterable[Row], columns: Columns) -> Iterator[bytes]:
    import pyarrow as pa  # only an import or export pays for loading it

    schema, sink = arrow_schema(columns), Sink()
    with pa.ipc.new_stream(sink, schema) as stream:
        for batch in batches(rows, columns, schema, GROUP // 10):
            stream.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


def _features(columns: Columns) -> dict[str, Any]:
    text = _value("string")
    kinds: dict[str, Any] = {
        "messages": {"feature": {"role": text, "content": text}, "_type": "List"},
        "texts": {"feature": text, "_type": "List"},
        "floats": {"feature": _value("float64"), "_type": "List"},
        "json": text,
        "text": text,
        "integer": _value("int64"),
        "float": _value("float64"),
        "boolean": _value("bool"),
    }
    return {name: kinds[kind] for name, kind in columns.items()}


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _counted(pieces: Iterable[bytes], count: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        count(piece)
        yield piece
