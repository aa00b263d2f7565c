"""run.json: read, checked and written. Standard library only, so that a bad file is refused before torch loads."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training import compatibility, run_rules, run_values
from training.fields import RunFileError, checked
from training.params import PARAMS, defaults
from training.run_parts import Adapter, Hardware, ModelRef, PolicyRef, RunFile, SnapshotRef
from training.run_rules import needs_reference

__all__ = [
    "PARAMS",
    "Adapter",
    "Hardware",
    "ModelRef",
    "PolicyRef",
    "RunFile",
    "RunFileError",
    "SnapshotRef",
    "check",
    "compatibility",
    "defaults",
    "model_hash",
    "needs_reference",
    "read",
    "weight_files",
    "with_overrides",
    "write",
]

SCHEMA = 1
TEMPLATES = ("plain", "chatml")
MEMBER = "member-"  # with a number: the folder of an ensemble's member below that of the first one
KEYS = {"schema"} | {field.name for field in dataclasses.fields(RunFile)} - {"raw"}


def read(path: Path | str) -> RunFile:
    """The checked run file at `path`."""
    try:
        data = json.loads(Path(path).read_text("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except OSError as error:
        raise RunFileError("run.json", f"cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RunFileError("run.json", f"is not JSON: {error}") from error
    return check(data)


def write(path: Path | str, data: dict[str, Any], *, root: Path | None = None) -> RunFile:
    """Check `data` and store it; a reader sees the old file or the new one, never half of it."""
    config = check(data, root=root)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    return config


def check(data: Any, *, root: Path | None = None) -> RunFile:
    """`data` as a RunFile, or RunFileError naming the first bad key.

    `root` is the registry that every path must lie in; by default $HONE_DATA, and any local path is fine without it.
    """
    if not isinstance(data, dict):
        raise RunFileError("run.json", "must hold one JSON object")
    _refuse_remote_code(data)
    for key in data:
        if key not in KEYS:
            raise RunFileError(key, f"is not a key of run.json; known: {', '.join(sorted(KEYS))}")
    if data.get("schema", SCHEMA) != SCHEMA:
        raise RunFileError("schema", f"must be {SCHEMA}, got {data['schema']!r}")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in PARAMS:
        raise RunFileError("kind", f"must be one of {', '.join(PARAMS)}, got {kind!r}")
    run_rules.check_keys(kind, data)
    if root is None and os.environ.get("HONE_DATA"):
        root = Path(os.environ["HONE_DATA"])
    named = run_values.whole_object(data, "adapter")
    adapter = None if data.get("adapter") is None else checked(Adapter, named, "adapter")
    run_rules.check_targets(adapter)
    config = RunFile(
        kind=kind,
        name=run_values.text(data, "name") or kind,
        seed=run_values.seed(data),
        base_model=run_values.model_ref(data.get("base_model"), "base_model", root),
        start_adapter=run_values.model_ref(data.get("start_adapter"), "start_adapter", root),
        adapter=adapter,
        reference=run_values.text(data, "reference"),
        reward_model=run_values.model_ref(data.get("reward_model"), "reward_model", root),
        snapshot=run_values.snapshot_ref(data.get("snapshot"), root),
        prompts=run_values.file_name(data, "prompts"),
        template=run_values.file_name(data, "template"),
        params=_params(kind, data, adapter, root),
        hardware=checked(Hardware, run_values.whole_object(data, "hardware"), "hardware"),
        raw=copy.deepcopy(data),
    )
    run_rules.check_together(config)
    return config


def with_overrides(data: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with `key.key=value` settings applied; values are JSON, or else plain text."""
    result = copy.deepcopy(data)
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        if not equals or not dotted.strip():
            raise RunFileError(setting, "must look like key.key=value, for example params.beta=0.2")
        *parents, last = dotted.strip().split(".")
        target = result
        for key in parents:
            if target.get(key) is None:
                target[key] = {}
            target = target[key]
            if not isinstance(target, dict):
                raise RunFileError(dotted, f"cannot be set: {key} holds a single value")
        try:
            target[last] = json.loads(text)
        except json.JSONDecodeError:
            target[last] = text
    return result


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, sorted by name; then those of an ensemble's other members."""
    return [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob(f"{MEMBER}*/*.safetensors"))]


def model_hash(folder: Path | str) -> str:
    """One sha256 over a model's weight files; equal to `sha256sum *.safetensors | sha256sum` run in the folder.

    Of an ensemble of adapters: `sha256sum *.safetensors member-*/*.safetensors | sha256sum`.
    """
    whole = hashlib.sha256()
    for path in weight_files(Path(folder)):
        whole.update(f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return whole.hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of one file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise RunFileError(key, "appears twice in run.json")
        result[key] = value
    return result


def _no_constant(name: str) -> None:
    raise RunFileError("run.json", f"holds {name}, which is not a JSON number")


def _refuse_remote_code(value: Any, where: str = "") -> None:
    items: Iterable[tuple[Any, Any]] = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        dotted = f"{where}.{key}" if where else str(key)
        if key == "trust_remote_code":
            raise RunFileError(dotted, "is refused: Hone never runs code that comes with a model")
        _refuse_remote_code(inner, dotted)


def _params(kind: str, data: dict[str, Any], adapter: Adapter | None, root: Path | None) -> Any:
    values = defaults(kind, adapter.method if adapter else None) | run_values.whole_object(data, "params")
    params = checked(PARAMS[kind], values)
    if kind == "pretrain":
        run_values.file_name(values, "corpus", "params.")
    if kind == "evaluate":
        return dataclasses.replace(params, policies=run_values.policies(params.policies, root))
    return params
