"""What a run starts from, checked against the hashes in its run file. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from training import compatibility
from training.runfile import (
    MEMBER,
    TEMPLATES,
    ModelRef,
    RunFile,
    RunFileError,
    SnapshotRef,
    file_hash,
    model_hash,
    weight_files,
)


def check_inputs(config: RunFile, run_path: Path) -> None:
    """Refuse a run whose models, snapshot or files are missing or are not the ones it names by hash."""
    for field, reference in _model_refs(config):
        if not weight_files(reference.path):
            raise RunFileError(f"{field}.path", f"has no safetensors weights in it: {reference.path}")
        if reference.sha256 and model_hash(reference.path) != reference.sha256:
            raise RunFileError(
                f"{field}.sha256",
                f"does not match the weights in {reference.path}; they changed since the run was made",
            )
    if config.snapshot:
        _check_snapshot(config.snapshot)
    if config.adapter and config.adapter.method == "qlora":
        compatibility.require_quantised()
    if config.start_adapter and config.adapter:
        compatibility.require_copy(config.adapter, config.start_adapter.path)
        _check_members(config)
    for field, name in (("prompts", config.prompts), ("template", config.template)):
        if name and name not in TEMPLATES and not (run_path / name).is_file():
            raise RunFileError(field, f"names {name}, which is not in the run directory")


def _check_members(config: RunFile) -> None:
    """An ensemble of adapters goes on from one of as many members, for copies of one adapter would all learn alike."""
    assert config.start_adapter is not None
    saved = 1 + len(list(config.start_adapter.path.glob(f"{MEMBER}*")))
    wanted = config.params.members if getattr(config.params, "ensemble", "heads") == "adapters" else 1
    if saved != wanted:
        goes_on = f"an ensemble of {saved} adapters" if saved > 1 else "one adapter"
        raise RunFileError("start_adapter.path", f"holds {goes_on}, and this run trains {wanted}; leave it out")


def _check_snapshot(snapshot: SnapshotRef) -> None:
    try:
        manifest = json.loads((snapshot.path / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunFileError("snapshot.path", f"has no readable manifest.json: {snapshot.path}") from error
    if snapshot.hash and manifest.get("content_hash") != snapshot.hash:
        raise RunFileError("snapshot.hash", f"is {snapshot.hash}, but the snapshot's is {manifest.get('content_hash')}")
    files = manifest.get("files")
    for name, entry in files.items() if isinstance(files, dict) else ():
        expected = entry.get("sha256") if isinstance(entry, dict) else entry
        path = snapshot.path / name
        if not path.is_file() or file_hash(path) != expected:
            raise RunFileError("snapshot.path", f"holds a {name} that is missing or differs from its manifest")


def _model_refs(config: RunFile) -> Iterator[tuple[str, ModelRef]]:
    for field in ("base_model", "start_adapter", "reward_model"):
        if reference := getattr(config, field):
            yield field, reference
    for index, policy in enumerate(getattr(config.params, "policies", ())):
        yield f"params.policies[{index}].base_model", policy.base_model
        if policy.adapter:
            yield f"params.policies[{index}].adapter", policy.adapter
