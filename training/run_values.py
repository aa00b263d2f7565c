"""Values of run.json, read one by one: the first that cannot be used is refused with its key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from training.fields import RunFileError
from training.run_parts import ModelRef, PolicyRef, SnapshotRef


def policies(entries: Any, root: Path | None) -> tuple[PolicyRef, ...]:
    if not isinstance(entries, list | tuple) or not entries:
        raise RunFileError("params.policies", "must be a list with at least one policy")
    policies = []
    for index, entry in enumerate(entries):
        where = f"params.policies[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise RunFileError(f"{where}.name", "is required: every policy is an object with a name")
        for key in entry:
            if key not in ("name", "base_model", "adapter", "reference"):
                raise RunFileError(
                    f"{where}.{key}", "is not a key of a policy; known: name, base_model, adapter, reference"
                )
        base = model_ref(entry.get("base_model"), f"{where}.base_model", root)
        if base is None:
            raise RunFileError(f"{where}.base_model", "is required")
        adapter = model_ref(entry.get("adapter"), f"{where}.adapter", root)
        policies.append(
            PolicyRef(name=entry["name"], base_model=base, adapter=adapter, reference=entry.get("reference"))
        )
    names = [policy.name for policy in policies]
    if len(set(names)) < len(names):
        raise RunFileError("params.policies", "must have different names")
    for index, policy in enumerate(policies):
        if policy.reference is not None and policy.reference not in names:
            raise RunFileError(
                f"params.policies[{index}].reference", f"names {policy.reference!r}, which is not one of the policies"
            )
    return tuple(policies)


def whole_object(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if value is not None and not isinstance(value, dict):
        raise RunFileError(key, f"must be an object, got {value!r}")
    return value or {}


def text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise RunFileError(key, f"must be text, got {value!r}")
    return value


def seed(data: dict[str, Any]) -> int:
    seed = data.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise RunFileError("seed", f"must be a whole number from 0 to {2**32 - 1}, got {seed!r}")
    return seed


def file_name(data: dict[str, Any], key: str, prefix: str = "") -> str | None:
    name = text(data, key)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise RunFileError(prefix + key, f"must be the name of a file inside the run directory, got {name!r}")
    return name


def model_ref(value: Any, field: str, root: Path | None) -> ModelRef | None:
    if value is None:
        return None
    entry = _reference(value, field, "sha256")
    return ModelRef(path=_path(entry["path"], f"{field}.path", root), sha256=entry.get("sha256"))


def snapshot_ref(value: Any, root: Path | None) -> SnapshotRef | None:
    if value is None:
        return None
    entry = _reference(value, "snapshot", "hash")
    return SnapshotRef(path=_path(entry["path"], "snapshot.path", root), hash=entry.get("hash"))


def _reference(value: Any, field: str, hash_key: str) -> dict[str, Any]:
    entry = {"path": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise RunFileError(f"{field}.path", "is required")
    for key in entry:
        if key not in ("path", hash_key):
            raise RunFileError(f"{field}.{key}", f"is not a key of {field}; known: path, {hash_key}")
    if entry.get(hash_key) is not None and not isinstance(entry[hash_key], str):
        raise RunFileError(f"{field}.{hash_key}", f"must be text, got {entry[hash_key]!r}")
    return entry


def _path(text: str, field: str, root: Path | None) -> Path:
    if "\0" in text:
        raise RunFileError(field, "holds a NUL character")
    base = Path(os.path.normpath((root or Path()).absolute()))
    path = Path(os.path.normpath(base / text))  # not resolve(): a model may be linked into the registry
    if root and not path.is_relative_to(base):
        raise RunFileError(field, f"is outside the registry {base}: {text}")
    return path
