"""A snapshot's files: the same rows always give the same bytes, and a folder appears only when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
from django.conf import settings

from annotation import writing
from annotation.splitting import PARTS
from rlhf.cards import dataset_card
from rlhf.tallies import Tally
from training.runfile import file_hash

FILES = ("manifest.json", "train.parquet", "eval.parquet", "README.md")
ROW_GROUP = 10_000  # fixed, like every option of the writer: they are part of what makes equal cuts equal bytes
OPTIONS: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "use_dictionary": True,
    "write_statistics": True,
    "store_schema": True,
}
PIECE = 1 << 20  # bytes


class Folder:
    """A folder under HONE_DATA/snapshots in the making; what was not published is removed."""

    def __init__(self, columns: writing.Columns) -> None:
        self.root = Path(settings.HONE_DATA) / "snapshots"
        self.temporary = self.root / f".{uuid.uuid4().hex}.tmp"
        self.columns, self.schema = columns, writing.arrow_schema(columns)
        self.waiting: dict[str, list[writing.Row]] = {part: [] for part in PARTS}
        self.counts = dict.fromkeys(PARTS, 0)

    def __enter__(self) -> Folder:
        self.temporary.mkdir(parents=True)
        self.writers = {
            part: parquet.ParquetWriter(self.temporary / f"{part}.parquet", self.schema, **OPTIONS) for part in PARTS
        }
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers.values():
            writer.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def add(self, part: str, rows: list[writing.Row]) -> None:
        waiting = self.waiting[part]
        waiting += rows
        self.counts[part] += len(rows)
        while len(waiting) >= ROW_GROUP:
            self._write(part, waiting[:ROW_GROUP])
            del waiting[:ROW_GROUP]

    def publish(self, facts: dict[str, Any], tally: Tally) -> tuple[Path, str]:
        """The folder that holds these rows, and its content hash.

        `facts` are the manifest's kind, recipe and projects. A folder that is there already has the same content and
        is left alone.
        """
        for part, writer in self.writers.items():
            self._write(part, self.waiting[part])
            writer.close()
        files = {f"{part}.parquet": _described(self.temporary / f"{part}.parquet", self.counts[part]) for part in PARTS}
        manifest = {"schema": 2, **facts, "counts": tally.counts(), "statistics": tally.statistics()}
        manifest |= {"simulated_share": tally.simulated_share, "adjudications": sorted(tally.rulings)}
        manifest |= {"hone_version": version(), "files": files}
        used = list(_pairs(tally))
        manifest["content_hash"] = content_hash(manifest, used)
        target = self.root / manifest["content_hash"][:16]
        if not target.exists():
            card = self.temporary / "README.md"
            card.write_text(dataset_card(manifest, list(self.columns)), "utf-8")
            files[card.name] = _described(card)
            _write_manifest(self.temporary / "manifest.json", manifest, tally, used)
            _publish(self.temporary, target)
        return target, str(manifest["content_hash"])

    def _write(self, part: str, rows: list[writing.Row]) -> None:
        for batch in writing.batches(rows, self.columns, self.schema, ROW_GROUP):
            self.writers[part].write_table(pyarrow.Table.from_batches([batch]))


def content_hash(manifest: dict[str, Any], used: Iterable[str]) -> str:
    """One sha256 over what was cut and how: rows, recipe and the judgements behind them."""
    rows = {name: entry["sha256"] for name, entry in manifest["files"].items() if name.endswith(".parquet")}
    told = {key: manifest[key] for key in ("kind", "recipe", "projects", "adjudications")} | {"rows": rows}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    for piece in used:
        digest.update(piece.encode())
    return digest.hexdigest()


def head(folder: Path) -> dict[str, Any]:
    """The manifest without its long lists, which stand at its end; empty when it cannot be read."""
    lines = []
    try:
        with (folder / "manifest.json").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith(' "annotations"'):
                    lines.append(' "annotations": []}')
                    break
                lines.append(line)
        found = json.loads("".join(lines))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def manifest(folder: Path) -> dict[str, Any]:
    """The whole manifest; empty when it cannot be read."""
    try:
        found = json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


@cache
def version() -> str:
    """Hone's own version."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text("utf-8"))
    return str(project["project"]["version"])


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _pairs(tally: Tally) -> Iterator[str]:
    """`[id, revision]` of each judgement by id, as JSON of a few thousand at a time."""
    import numpy as np

    ids, revisions = np.array(tally.ids), np.array(tally.revisions)
    order = np.argsort(ids, kind="stable")
    for start in range(0, len(order), 5000):
        part = order[start : start + 5000]
        rows = zip(ids[part].tolist(), revisions[part].tolist(), strict=True)
        yield (", " if start else "") + ", ".join(f"[{pk}, {revision}]" for pk, revision in rows)


def _write_manifest(path: Path, manifest: dict[str, Any], tally: Tally, used: Iterable[str]) -> None:
    """The short facts first, readable by a person; then the long lists, each on a line of its own."""
    text = json.dumps(manifest, ensure_ascii=False, indent=1).removesuffix("\n}")
    with path.open("w", encoding="utf-8") as file:
        file.write(text + ',\n "annotations": [')
        file.writelines(used)
        for name, lists in (("rows", tally.tasks), ("tasks_left_out", tally.tasks_left_out)):
            file.write(f'{"]" if name == "rows" else "}"},\n "{name}": {{')
            for place, (key, tasks) in enumerate(sorted(lists.items())):
                file.write(f"{', ' if place else ''}{json.dumps(key)}: {json.dumps(tasks.tolist())}")
        file.write("}\n}\n")


def _described(path: Path, rows: int | None = None) -> dict[str, Any]:
    described: dict[str, Any] = {"sha256": file_hash(path), "bytes": path.stat().st_size}
    return described if rows is None else described | {"rows": rows}


def _publish(temporary: Path, target: Path) -> None:
    for path in temporary.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        temporary.rename(target)
    except OSError:
        if not target.exists():  # else somebody cut the same at the same moment
            raise
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
