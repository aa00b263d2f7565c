"""A snapshot's files: the same rows always give the same bytes, and a folder appears only when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
import uuid
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
from django.conf import settings

from rlhf.cards import dataset_card
from training.rundir import write_json
from training.runfile import file_hash

SPLITS = ("train", "eval")
ROW_GROUP = 10_000  # fixed, like every option of the writer: they are part of what makes equal cuts equal bytes


def write(facts: dict[str, Any], splits: dict[str, list[dict[str, Any]]], schema: pyarrow.Schema) -> tuple[Path, str]:
    """The folder under HONE_DATA/snapshots that holds these rows, and its content hash.

    `facts` are the manifest's kind, counts, recipe, projects, annotations and simulated share. A folder that is there
    already has the same content and is left alone.
    """
    root = Path(settings.HONE_DATA) / "snapshots"
    temporary = root / f".{uuid.uuid4().hex}.tmp"
    temporary.mkdir(parents=True)
    try:
        for split in SPLITS:
            _write_parquet(temporary / f"{split}.parquet", splits[split], schema)
        files = {f"{split}.parquet": _described(temporary / f"{split}.parquet", len(splits[split])) for split in SPLITS}
        manifest = {"schema": 1, **facts, "hone_version": version(), "files": files}
        manifest["content_hash"] = content_hash(manifest)
        target = root / manifest["content_hash"][:16]
        if not target.exists():
            card = temporary / "README.md"
            card.write_text(dataset_card(manifest, schema.names), "utf-8")
            files[card.name] = _described(card)
            write_json(temporary / "manifest.json", manifest)
            _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target, str(manifest["content_hash"])


def content_hash(manifest: dict[str, Any]) -> str:
    """One sha256 over what was cut and how: rows, recipe and the judgements behind them."""
    rows = {name: entry["sha256"] for name, entry in manifest["files"].items() if name.endswith(".parquet")}
    told = {key: manifest[key] for key in ("kind", "recipe", "projects", "annotations")} | {"rows": rows}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def version() -> str:
    """Hone's own version."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text("utf-8"))
    return str(project["project"]["version"])


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]], schema: pyarrow.Schema) -> None:
    wanted = [{name: row.get(name) for name in schema.names} for row in rows]
    table = pyarrow.Table.from_pylist(wanted, schema=schema)
    parquet.write_table(
        table,
        path,
        row_group_size=ROW_GROUP,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        store_schema=True,
    )


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
