"""What a run will roughly need, told before it is queued: rows, steps, tokens, memory, disk and who comes first."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as parquet
from django.conf import settings
from django.utils.translation import gettext

from annotation.models import Project
from rlhf.models import Model, Run, Snapshot

BYTES = 4  # of a float32 number
TRAINED = 16  # bytes for each trained number: itself, its gradient and AdamW's two moments
CHARACTERS = 4  # of English in one token, roughly
KEPT_PER_LAYER = 16  # numbers of hidden size that one token leaves behind in a layer until the backward pass


@dataclass(frozen=True)
class Part:
    label: str
    size: float  # bytes


@dataclass
class Preflight:
    """Estimates for one run; empty ones are unknown."""

    rows: int = 0
    held_out: int = 0
    steps: int = 0
    tokens: float = 0
    trained: int = 0
    whole: int = 0
    parts: list[Part] = field(default_factory=list)
    memory: float | None = None  # of this machine
    disk: float = 0
    disk_free: float = 0
    ahead: int = 0  # runs that come first

    @property
    def needed(self) -> float:
        return sum(part.size for part in self.parts)

    @property
    def scale(self) -> float:
        """What the whole bar stands for: the machine's memory, or all that is needed."""
        return max(self.needed, self.memory or 0.0)

    @property
    def fits(self) -> bool | None:
        return None if self.memory is None or not self.parts else self.needed < self.memory * 0.9


def estimate(
    project: Project, config: dict[str, Any], start: Model | None, reward: Model | None, snapshot: Snapshot | None
) -> Preflight:
    """What `config` (a run.json) asks of this machine; figures are rough and say so on the page."""
    found = Preflight()
    params = config.get("params") or {}
    if snapshot:
        found.rows, found.held_out = snapshot.counts.get("train") or 0, snapshot.counts.get("eval") or 0
    length = _row_tokens(snapshot) if snapshot else 0.0
    found.steps, found.tokens = _work(config["kind"], params, found.rows, length)
    if start:
        _memory(found, config, start, reward, length)
        found.disk = 3 * found.trained * 12 + (found.trained * BYTES)  # two kept checkpoints, one being written
    found.disk_free = shutil.disk_usage(settings.HONE_DATA).free
    found.ahead = Run.objects.exclude(state__in=Run.ENDED).count()
    if not Path("/proc/driver/nvidia").exists():  # with a GPU the machine's own memory says little
        found.memory = psutil.virtual_memory().total
    return found


def trained_numbers(model: Model, adapter: dict[str, Any] | None) -> int:
    """How many numbers would be trained: all of them, or those of an adapter on every layer that it reaches."""
    if adapter is None:
        return model_numbers(model.base)
    shape = _shape(model.base)
    hidden, inner, layers = shape.get("hidden_size", 0), shape.get("intermediate_size", 0), shape.get("layers", 0)
    heads, shared = shape.get("heads", 1) or 1, shape.get("kv_heads", 0) or shape.get("heads", 1) or 1
    narrow = hidden * shared // heads
    method = adapter.get("method", "lora")
    positions = int(adapter.get("virtual_tokens", 20))
    if method == "ia3":
        return layers * (2 * narrow + inner)
    if method == "prefix":
        return positions * layers * 2 * narrow
    if method in ("prompt", "p_tuning"):
        encoder = 3 * hidden * hidden if method == "p_tuning" else 0
        return positions * hidden + encoder
    if method in ("houlsby", "pfeiffer"):
        return layers * (2 if method == "houlsby" else 1) * 2 * hidden * int(adapter.get("bottleneck", 64))
    rank = int(adapter.get("r", 16))
    return int(rank * layers * (4 * hidden + 2 * (hidden + narrow) + 3 * (hidden + inner)))


def model_numbers(model: Model) -> int:
    """How many numbers a model's weight files hold, by their headers."""
    return _numbers_in(str(model.folder), model.sha256)


def _work(kind: str, params: dict[str, Any], rows: int, length: float) -> tuple[int, float]:
    """(optimiser steps or rounds of PPO, tokens read or written)."""
    if kind in Run.ROLLS_OUT:
        steps = int(params.get("steps") or 0)
        return steps, float(steps * _answers(params) * (params.get("max_new_tokens") or 0))
    batch = params.get("batch_size") or 1
    steps = math.ceil(rows / batch * float(params.get("epochs") or 1)) if rows else 0
    if params.get("max_steps"):
        steps = min(steps, int(params["max_steps"]))
    return steps, steps * batch * min(length, params.get("max_length") or length)


def _answers(params: dict[str, Any]) -> int:
    """Answers written at once."""
    return int(params.get("rollout_batch") or (params.get("prompts_per_step") or 0) * (params.get("samples") or 0))


def _memory(found: Preflight, config: dict[str, Any], start: Model, reward: Model | None, length: float) -> None:
    params, adapter = config.get("params") or {}, config.get("adapter")
    base, shape = start.base, _shape(start.base)
    found.whole = model_numbers(base)
    found.trained = trained_numbers(start, adapter)
    weights = found.whole * BYTES
    if reward and reward.base != base:
        weights += model_numbers(reward.base) * BYTES
    batch = params.get("minibatch") or params.get("batch_size") or 1
    longest = min(params.get("max_length") or 10**9, max(length, 16))
    if config["kind"] in Run.ROLLS_OUT:
        longest = min(params.get("max_prompt_length") or 512, max(length / 2, 16)) + (params.get("max_new_tokens") or 0)
    pairs = 2 if config["kind"] in (Run.Kind.REWARD, Run.Kind.DPO) else 1
    tokens = batch * longest * pairs
    hidden, layers = shape.get("hidden_size", 0), shape.get("layers", 0)
    found.parts = [
        Part(gettext("Weights, loaded once"), weights),
        Part(
            gettext("Trained numbers, gradients, optimizer"), found.trained * (TRAINED if adapter else TRAINED - BYTES)
        ),
        Part(
            gettext("Activations, %(batch)s at a time") % {"batch": batch},
            tokens * hidden * layers * KEPT_PER_LAYER * BYTES,
        ),
        Part(
            gettext("Logits"), tokens * shape.get("vocab_size", 0) * BYTES if config["kind"] != Run.Kind.REWARD else 0
        ),
    ]
    if config["kind"] in Run.ROLLS_OUT:
        cache = _answers(params) * longest * hidden * layers * 2 * BYTES
        found.parts.append(Part(gettext("Rollout cache"), cache))
    found.parts = [part for part in found.parts if part.size]


def _row_tokens(snapshot: Snapshot) -> float:
    """The mean length of a row in tokens, from the characters of its first rows."""
    return _mean_characters(str(snapshot.folder), snapshot.content_hash) / CHARACTERS


@lru_cache(maxsize=64)
def _mean_characters(folder: str, content_hash: str) -> float:
    path = Path(folder) / "train.parquet"
    if not path.is_file():
        return 0.0
    batch = next(parquet.ParquetFile(path).iter_batches(batch_size=256), None)
    rows = batch.to_pylist() if batch is not None else []
    texts = [
        sum(len(message["content"]) for name in ("prompt", "chosen", "completion") for message in row.get(name) or [])
        for row in rows
    ]
    return sum(texts) / len(texts) if texts else 0.0


@lru_cache(maxsize=64)
def _numbers_in(folder: str, sha256: str) -> int:
    """The product of each tensor's shape, summed; the header of a safetensors file is its length and then JSON."""
    total = 0
    for path in sorted(Path(folder).glob("*.safetensors")):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            try:
                header = json.loads(file.read(size)) if size < 100_000_000 else {}
            except ValueError:  # not what its name says; the engine will refuse it, an estimate need not
                continue
        total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total


def _shape(model: Model) -> dict[str, int]:
    """The sizes in a model's config.json under one name each, whatever its family calls them."""
    try:
        config = json.loads((model.folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    named = {
        "hidden_size": ("hidden_size", "n_embd", "d_model"),
        "layers": ("num_hidden_layers", "n_layer", "num_layers"),
        "heads": ("num_attention_heads", "n_head"),
        "kv_heads": ("num_key_value_heads",),
        "vocab_size": ("vocab_size",),
        "intermediate_size": ("intermediate_size", "n_inner"),
    }
    found = {name: next((config[key] for key in keys if config.get(key)), 0) for name, keys in named.items()}
    found["intermediate_size"] = found["intermediate_size"] or 4 * found["hidden_size"]
    return found
