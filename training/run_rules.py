"""What each kind of run needs, takes and refuses: the keys of run.json against one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training import compatibility
from training.fields import RunFileError
from training.params import REFERENCE_FREE
from training.run_parts import Adapter, RunFile

# What each kind cannot run without, and what would be ignored and is therefore refused.
NEEDS = {
    "pretrain": (),
    "sft": ("base_model", "snapshot"),
    "reward": ("base_model", "snapshot"),
    "dpo": ("base_model", "snapshot"),
    "kto": ("base_model", "snapshot"),
    "ppo": ("base_model", "reward_model"),
    "grpo": ("base_model",),
    "rloo": ("base_model",),
    "best_of_n": ("base_model", "reward_model"),
    "merge": ("base_model", "start_adapter"),
    "generate": ("base_model",),
    "evaluate": (),
}
ROLLED = {"base_model", "start_adapter", "adapter", "reference", "reward_model", "snapshot", "prompts", "template"}
TAKES = {
    "pretrain": set(),
    "sft": {"base_model", "start_adapter", "adapter", "snapshot", "template"},
    "reward": {"base_model", "start_adapter", "adapter", "snapshot", "template"},
    "dpo": {"base_model", "start_adapter", "adapter", "reference", "snapshot", "template"},
    "kto": {"base_model", "start_adapter", "adapter", "reference", "snapshot", "template"},
    "ppo": ROLLED,
    **dict.fromkeys(("grpo", "rloo"), ROLLED),
    "best_of_n": {"base_model", "start_adapter", "reward_model", "snapshot", "prompts", "template"},
    "merge": {"base_model", "start_adapter", "template"},
    "generate": {"base_model", "start_adapter", "reward_model", "snapshot", "prompts", "template"},
    "evaluate": {"base_model", "reward_model", "snapshot", "prompts", "template"},
}


def check_keys(kind: str, data: dict[str, Any]) -> None:
    for key in NEEDS[kind]:
        if data.get(key) is None:
            raise RunFileError(key, f"is required for a {kind} run")
    everywhere = {"schema", "kind", "name", "seed", "params", "hardware"}
    for key, value in data.items():
        if key not in TAKES[kind] | everywhere and value is not None:
            raise RunFileError(key, f"has no meaning in a {kind} run; leave it out")


def check_together(config: RunFile) -> None:
    if config.reference not in (None, "base", "start_adapter"):
        raise RunFileError("reference", f"must be base or start_adapter, got {config.reference!r}")
    _check_reference(config)
    _check_adapter(config)
    _check_rule(config)
    if config.reference == "start_adapter" and config.start_adapter is None:
        raise RunFileError("start_adapter", "is required when reference is start_adapter")
    if config.start_adapter and not config.adapter and config.kind in compatibility.TRAINERS:
        raise RunFileError("adapter", "is required with start_adapter: what starts as an adapter is trained as one")
    if config.kind in ("best_of_n", "generate", "evaluate") and config.prompts and config.snapshot:
        raise RunFileError("snapshot", "has no meaning beside prompts, which are answered in its place; leave one out")
    if "prompts" in TAKES[config.kind] and not config.prompts and not config.snapshot:
        raise RunFileError("prompts", f"is required for a {config.kind} run without a snapshot")


def needs_reference(kind: str, params: Mapping[str, Any]) -> bool:
    """Whether such a run measures drift, and so must name what it drifts from."""
    return "reference" in TAKES[kind] and params.get("loss") not in REFERENCE_FREE


def _check_reference(config: RunFile) -> None:
    needed = needs_reference(config.kind, {"loss": getattr(config.params, "loss", None)})
    if needed and config.reference is None:
        raise RunFileError("reference", f"is required for a {config.kind} run")
    if not needed and config.reference is not None:
        loss = config.params.loss
        raise RunFileError("reference", f"has no meaning with the {loss} loss, which compares with none; leave it out")


def _check_rule(config: RunFile) -> None:
    if not hasattr(config.params, "rule"):
        return
    if config.reward_model is None and config.params.rule is None:
        raise RunFileError("reward_model", f"or params.rule is required for a {config.kind} run")
    if config.reward_model is not None and config.params.rule is not None:
        raise RunFileError("params.rule", "and a reward model cannot both score the answers; leave one out")


def _check_adapter(config: RunFile) -> None:
    """Refuse an adapter that this kind of run, or this machine, cannot train."""
    if config.kind not in compatibility.TRAINERS:
        return
    if config.adapter is None and config.hardware.dtype == "bfloat16":
        message = "cannot be bfloat16 where all weights train, which would round small updates away; leave it at auto"
        raise RunFileError("hardware.dtype", message)
    method = config.adapter.method if config.adapter else None
    reason = compatibility.refusal(config.kind, method)
    if reason is None and getattr(config.params, "ensemble", "heads") == "adapters":
        reason = compatibility.ensemble_refusal(method)
    if reason:
        raise RunFileError("adapter.method" if method else "adapter", reason)


def check_targets(adapter: Adapter | None) -> None:
    targets = adapter.targets if adapter else "all-linear"
    named = isinstance(targets, list) and targets and all(isinstance(each, str) and each for each in targets)
    if targets != "all-linear" and not named:
        raise RunFileError("adapter.targets", f"must be all-linear or a list of layer names, got {targets!r}")
