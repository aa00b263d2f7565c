"""Resumable state of a run: written aside, fsynced, renamed; only complete checkpoints are visible."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from training.rundir import RunDir, RunError, list_checkpoints
from training.runfile import RunFileError, file_hash

KEEP = 2
# A checkpoint continues only the run that wrote it; settings such as the learning rate may be corrected in between.
IDENTITY = (
    "kind",
    "seed",
    "base_model",
    "start_adapter",
    "adapter",
    "reference",
    "reward_model",
    "snapshot",
    "template",
)


@dataclass(frozen=True)
class Checkpoint:
    step: int
    path: Path
    state: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """The weights that were being trained."""
        return load_file(self.path / "tensors.safetensors")


def save(run: RunDir, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Store `tensors` and `state` (plain values and tensors only) as the checkpoint of `step`; two are kept."""
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    final, aside = folder / f"step-{step:08d}", folder / f".tmp-{step:08d}"
    for stale in folder.glob(".tmp-*"):  # left by a kill or a full disk
        shutil.rmtree(stale, ignore_errors=True)
    aside.mkdir()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _write(aside / "tensors.safetensors", safetensors_bytes(weights))
    _write(aside / "state.pt", buffer.getbuffer())
    hashes = {name: file_hash(aside / name) for name in ("tensors.safetensors", "state.pt")}
    listing = {"step": step, "saved_at": time.time(), "files": hashes, "run": _identity(run), "params": _params(run)}
    _write(aside / "checkpoint.json", json.dumps(listing, indent=1).encode())
    _sync_folder(aside)
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    _sync_folder(folder)
    run.checkpointed(step)
    for old in list_checkpoints(run.path)[:-KEEP]:
        shutil.rmtree(old["path"], ignore_errors=True)
    return final


def latest(run: RunDir) -> Checkpoint | None:
    """The newest checkpoint whose files have the hashes it lists, or None; nothing is unpickled unchecked."""
    for found in reversed(list_checkpoints(run.path)):
        path: Path = found["path"]
        listing = json.loads((path / "checkpoint.json").read_text("utf-8"))
        files = listing.get("files", {})
        whole = {"tensors.safetensors", "state.pt"} <= set(files)
        if not whole or any(not (path / name).is_file() or file_hash(path / name) != files[name] for name in files):
            run.say("warning", f"Checkpoint {path.name} is damaged and is passed over.")
            continue
        _require_same_run(run, listing)
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        run.say("info", f"Continuing from step {listing['step']}.")
        for name, before, now in _corrected(run, listing):
            run.say("warning", f"params.{name} is {now} from here on; up to this step it was {before}.")
        return Checkpoint(step=listing["step"], path=path, state=state)
    return None


def capture_rng() -> dict[str, Any]:
    """The state of every random generator a method may draw from, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast(tuple[Any, ...], np.random.get_state())
    state = {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_rng(state: dict[str, Any]) -> None:
    """Put every generator back to where `capture_rng` found it."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def _identity(run: RunDir) -> dict[str, Any]:
    data = json.loads((run.path / "run.json").read_text("utf-8"))
    return {key: data.get(key) for key in IDENTITY} | {"params.policies": _params(run).get("policies")}


def _params(run: RunDir) -> dict[str, Any]:
    return json.loads((run.path / "run.json").read_text("utf-8")).get("params") or {}


def _corrected(run: RunDir, listing: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, before, now) of each setting that was changed since this checkpoint, as run.json says them."""
    old, new = listing.get("params"), _params(run)
    if old is None:
        return []
    said = [{name: json.dumps(value) for name, value in each.items()} for each in (old, new)]
    return [
        (name, said[0].get(name, "its default"), said[1].get(name, "its default"))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _require_same_run(run: RunDir, listing: dict[str, Any]) -> None:
    if "run" not in listing:
        raise RunError(
            f"The checkpoint of step {listing['step']} does not say which run wrote it.", "Delete checkpoints/."
        )
    for key, value in _identity(run).items():
        if value != listing["run"].get(key, value):  # what an older version did not write down
            raise RunFileError(
                key, "changed since the last checkpoint; put it back, or delete checkpoints/ to start over"
            )


def _write(path: Path, data: Any) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
