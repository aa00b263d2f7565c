"""Parquet files and the folders that `datasets` saves, read with pyarrow alone: no web process loads `datasets`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from annotation import cleaning
from annotation.cleaning import CleaningError
from annotation.reading.archives import UnreadableFile
from annotation.reading.tables import cell_value

Read = Iterator[tuple[int, dict[str, Any] | CleaningError]]

ROWS = 1000  # turned into Python objects at a time
BUFFER = 1 << 20  # bytes of each column read ahead


def read_parquet(path: Path) -> Read:
    import pyarrow as pa  # only an import or export pays for loading it
    import pyarrow.parquet as pq

    # Arrow's own allocator keeps forty to seventy megabytes of what such a read gave back, the system's ten.
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        # Buffered: else whole column chunks are read at once, and most files have one row group of a million rows.
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as table:
            yield from enumerate(_records(table.iter_batches(batch_size=ROWS)), start=1)
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFile(f"{path.name} is not a sound Parquet file: {_first_line(error)}") from None


def read_saved_dataset(folder: Path) -> Read:
    """The rows of a folder written by save_to_disk; of several splits, each row tells its own in its metadata."""
    yield from enumerate(_all_splits(folder), start=1)


def _all_splits(folder: Path) -> Iterator[dict[str, Any] | CleaningError]:
    if not (folder / "dataset_dict.json").is_file():
        yield from _one_split(folder)
        return
    for split in _listed(folder / "dataset_dict.json", "splits", str):
        for record in _one_split(_inside(folder, split)):
            if isinstance(record, CleaningError):
                yield record
                continue
            metadata = record.get("metadata")
            yield record | {"metadata": {"split": split} | (metadata if isinstance(metadata, dict) else {})}


def _one_split(folder: Path) -> Iterator[dict[str, Any] | CleaningError]:
    import pyarrow as pa

    for entry in _listed(folder / "state.json", "_data_files", dict):
        path = _inside(folder, str(entry.get("filename")))
        try:
            # No memory map: the whole file would count as memory of this process.
            with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    yield from _records(batch.slice(offset, ROWS) for offset in range(0, batch.num_rows, ROWS))
        except (pa.ArrowInvalid, OSError) as error:
            raise UnreadableFile(f"{path.name} is not a sound Arrow file: {_first_line(error)}") from None


def _records(batches: Iterable[Any]) -> Iterator[dict[str, Any] | CleaningError]:
    for batch in batches:
        for record in batch.to_pylist():
            yield _in_json(record)


def _in_json(record: dict[str, Any]) -> dict[str, Any] | CleaningError:
    """A row without its empty columns; what our own exports keep as JSON text is read."""
    try:
        return {
            name: cell_value(name, value) if isinstance(value, str) else _plain(value)
            for name, value in record.items()
            if value is not None
        }
    except CleaningError as error:
        return error


def _plain(value: Any) -> Any:
    """Arrow's types in JSON's: times as ISO 8601, decimals as numbers, absent members left out."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _listed(path: Path, key: str, kind: type) -> list[Any]:
    try:
        found = cleaning.strict_json(path.read_bytes()).get(key)
    except (OSError, CleaningError, AttributeError):
        found = None
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise UnreadableFile(f"{path.parent.name} has no sound {path.name}; save the dataset again with save_to_disk.")
    return found


def _inside(folder: Path, name: str) -> Path:
    """A direct member of the folder: a saved dataset may not point at other places of this machine."""
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.exists():
        raise UnreadableFile(f"{folder.name} names the part {name[:80]!r}, which is not in it.")
    return path


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
