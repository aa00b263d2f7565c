"""What a run starts from, checked against the hashes in its run file. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from training import compatibility
from training.rundir import read_object
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
    for field, base, adapter in _adapters(config):
        _check_adapter(config.kind, field, base.path, adapter.path)
    if config.start_adapter and config.adapter:
        compatibility.require_copy(config.adapter, config.start_adapter.path)
        _check_members(config)
    for field, name in (("prompts", config.prompts), ("template", config.template)):
        if name and name not in TEMPLATES and not (run_path / name).is_file():
            raise RunFileError(field, f"names {name}, which is not in the run directory")
    for field, reference in _model_refs(config):
        broken = [path.name for path in weight_files(reference.path) if not reference.sha256 and not _is_whole(path)]
        if broken:
            raise RunFileError(f"{field}.path", f"holds {broken[0]}, which is damaged or not whole; copy it again")


def _check_adapter(kind: str, field: str, base: Path, folder: Path) -> None:
    """Refuse an adapter that cannot speak, or that was trained on other weights than it is to stand on."""
    saved = read_object(folder / "adapter_config.json")
    if saved is None:
        raise RunFileError(f"{field}.path", f"has no readable adapter_config.json: {folder}")
    if kind != "reward" and saved.get("task_type") == "SEQ_CLS":
        raise RunFileError(f"{field}.path", "holds a reward model's adapter, which scores answers and writes none")
    if kind == "merge" and (reason := compatibility.merge_refusal(compatibility.saved_method(saved))):
        raise RunFileError(field, reason)
    if trained_on(folder, base) is False:
        raise RunFileError(f"{field}.path", f"was trained on other weights than those in {base}; name its own base")


def trained_on(adapter: Path, base: Path) -> bool | None:
    """Whether an adapter was trained on the very weights in `base`; None where nothing is left to compare."""
    named = (read_object(adapter / "adapter_config.json") or {}).get("base_model_name_or_path")
    if named and Path(named).is_dir():
        return Path(named).samefile(base) or model_hash(named) == model_hash(base)
    card = (read_object(adapter / "hone.json") or {}).get("base_model")
    known = card.get("sha256") if isinstance(card, dict) else None
    return bool(known == model_hash(base)) if known else None


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says: the header's length, JSON, then the numbers."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length < size else {}
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (AttributeError, ValueError, TypeError, LookupError):
            return False
    return size == 8 + length + max(ends, default=0)


def _check_members(config: RunFile) -> None:
    """An ensemble of adapters goes on from one of as many members, for copies of one adapter would all learn alike."""
    assert config.start_adapter is not None
    saved = 1 + len(list(config.start_adapter.path.glob(f"{MEMBER}*")))
    wanted = config.params.members if getattr(config.params, "ensemble", "heads") == "adapters" else 1
    if saved != wanted:
        goes_on = f"an ensemble of {saved} adapters" if saved > 1 else "one adapter"
        raise RunFileError("start_adapter.path", f"holds {goes_on}, and this run trains {wanted}; leave it out")


def _check_snapshot(snapshot: SnapshotRef) -> None:
    manifest = read_object(snapshot.path / "manifest.json")
    if manifest is None:
        raise RunFileError("snapshot.path", f"has no readable manifest.json: {snapshot.path}")
    if snapshot.hash and manifest.get("content_hash") != snapshot.hash:
        raise RunFileError("snapshot.hash", f"is {snapshot.hash}, but the snapshot's is {manifest.get('content_hash')}")
    files = manifest.get("files")
    for name, entry in files.items() if isinstance(files, dict) else ():
        expected = entry.get("sha256") if isinstance(entry, dict) else entry
        path = snapshot.path / name
        if not path.is_file() or file_hash(path) != expected:
            raise RunFileError("snapshot.path", f"holds a {name} that is missing or differs from its manifest")


def _adapters(config: RunFile) -> Iterator[tuple[str, ModelRef, ModelRef]]:
    """(key, base, adapter) of every adapter that is to speak, or to be learnt from."""
    if config.start_adapter and config.base_model:
        yield "start_adapter", config.base_model, config.start_adapter
    for index, policy in enumerate(getattr(config.params, "policies", ())):
        if policy.adapter:
            yield f"params.policies[{index}].adapter", policy.base_model, policy.adapter


def _model_refs(config: RunFile) -> Iterator[tuple[str, ModelRef]]:
    for field in ("base_model", "start_adapter", "reward_model"):
        if reference := getattr(config, field):
            yield field, reference
    for index, policy in enumerate(getattr(config.params, "policies", ())):
        yield f"params.policies[{index}].base_model", policy.base_model
        if policy.adapter:
            yield f"params.policies[{index}].adapter", policy.adapter
