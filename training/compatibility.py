"""Which adapter works with which kind of run, and what to take instead. Standard library only: the web asks too."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.fields import RunFileError

LAYERS = ("lora", "dora", "rslora", "qlora")  # pairs of small matrices beside linear layers, PEFT's LoRA
VIRTUAL = ("prefix", "prompt", "p_tuning")  # trained positions in front of every row
BOTTLENECKS = ("houlsby", "pfeiffer")
LABELS = {
    "lora": "LoRA",
    "dora": "DoRA",
    "rslora": "rsLoRA",
    "qlora": "QLoRA",
    "adalora": "AdaLoRA",
    "ia3": "IA³",
    "prefix": "Prefix tuning",
    "prompt": "Prompt tuning",
    "p_tuning": "P-tuning",
    "houlsby": "Houlsby adapter",
    "pfeiffer": "Pfeiffer adapter",
}
METHODS = tuple(LABELS)
ENSEMBLES = (*LAYERS, "ia3")  # several that learn stand on one base, each with a score head of its own
TRAINERS = ("sft", "reward", "dpo", "kto", "ppo", "grpo", "rloo")
ROLLOUTS = ("ppo", "grpo", "rloo")
# The settings that mean something to each method; others may only stand at their defaults.
FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lora", "dora", "rslora"), ("r", "alpha", "dropout", "targets")),
    "qlora": ("r", "alpha", "dropout", "targets", "bits"),
    "adalora": ("r", "target_r", "alpha", "dropout", "targets"),
    "ia3": (),
    **dict.fromkeys(VIRTUAL, ("virtual_tokens",)),
    **dict.fromkeys(BOTTLENECKS, ("bottleneck", "dropout")),
}
SHAPE = ("r", "alpha", "virtual_tokens", "bottleneck")  # what a copy of an adapter must share with it
BOTTLENECK = "HONE_BOTTLENECK"  # peft_type of an adapter that is ours
_TYPES = {
    "IA3": "ia3",
    "ADALORA": "adalora",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt",
    "P_TUNING": "p_tuning",
}


def refusal(kind: str, method: str | None) -> str | None:
    """Why a run of `kind` cannot train `method` (None: all weights), with the nearest that it can; None when it can."""
    if found := _why_not(kind, method):
        why, near = found
        return f"cannot be {method} in a {kind} run: {why}; the nearest that works is {near}"
    return None


def _why_not(kind: str, method: str | None) -> tuple[str, str] | None:
    """(reason, the nearest that works)."""
    if kind in ROLLOUTS and method == "adalora":
        return (
            "each step learns several times from what one policy wrote, which must not lose ranks in between",
            "rslora",
        )
    if kind == "reward" and method in VIRTUAL:
        return (
            "behind trained positions, transformers no longer finds the last token, at which the score is read",
            "ia3",
        )
    return None


def ensemble_refusal(method: str | None) -> str | None:
    """Why the members of an ensemble cannot each have an adapter of `method`, with the nearest that can."""
    if method in ENSEMBLES:
        return None
    if method is None:
        return "is required for an ensemble of adapters; the nearest that works without one is params.ensemble heads"
    why, near = ("all on a base share one score head", "lora")
    if method == "adalora":
        why, near = ("PEFT follows the budget of ranks of one adapter alone", "rslora")
    return f"cannot be {method} in an ensemble of adapters: {why}; the nearest that works is {near}"


def can_quantise() -> bool:
    """Whether the library that keeps weights in 4 or 8 bits is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


def require_quantised() -> None:
    """Refuse QLoRA where its library is not installed."""
    if not can_quantise():
        raise RunFileError(
            "adapter.method",
            "is qlora, which needs bitsandbytes: install it with pip install -c constraints.txt '.[quantised]'; "
            "the nearest that works is lora",
        )


def continuation_refusal(method: str) -> str | None:
    """Why an adapter of `method` cannot be trained on, with what to do instead."""
    if method == "p_tuning":
        return "is a P-tuning adapter, of which only the result is saved, not the encoder; start a new prompt adapter"
    if method == "adalora":
        return "is an AdaLoRA adapter, whose ranks are cut already; merge it and start a new adapter on the result"
    return None


def merge_refusal(method: str) -> str | None:
    """Why an adapter of `method` cannot be folded into its base, with what to do instead."""
    if method not in (*VIRTUAL, *BOTTLENECKS):
        return None
    what = "adds positions" if method in VIRTUAL else "adds layers"
    return f"is {method}, which {what} and cannot be folded into weights; use it as it is, or train a lora"


def table() -> str:
    """Adapter by kind of run, and by what may be done with it later, as the Markdown table that the docs show."""
    later = ("goes on", "`merge`", "ensemble of adapters")
    head = "| adapter | " + " | ".join([f"`{kind}`" for kind in TRAINERS] + [*later]) + " |"
    lines = [head, "|---" * (len(TRAINERS) + len(later) + 1) + "|"]
    for method in (None, *METHODS):
        label = f"{LABELS[method]} (`{method}`)" if method else "Full fine-tuning"
        reasons = [refusal(kind, method) for kind in TRAINERS]
        cells = ["no" if reason else "yes" for reason in reasons]
        if method:
            after = (continuation_refusal(method), merge_refusal(method), ensemble_refusal(method))
            cells += ["no" if reason else "yes" for reason in after]
        else:
            cells += ["yes", "is whole", "no"]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reasons() -> str:
    """Why the table says no, as a Markdown list: each reason once, with all that it holds for."""
    found: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for kind in TRAINERS:
        for method in METHODS:
            if reason := _why_not(kind, method):
                kinds, methods = found.setdefault(reason, ({}, {}))
                kinds[kind], methods[method] = None, None
    return "\n".join(
        f"- {_listed(methods)} in {_listed(kinds)}: {why}; the nearest that works is `{near}`."
        for (why, near), (kinds, methods) in found.items()
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def saved_method(saved: dict[str, Any]) -> str:
    """The method that an adapter_config.json was trained with."""
    kind = saved.get("peft_type", "LORA")
    if kind == "LORA":
        return "dora" if saved.get("use_dora") else "rslora" if saved.get("use_rslora") else "lora"
    if kind == BOTTLENECK:
        return str(saved.get("placement", "pfeiffer"))
    return _TYPES.get(str(kind), str(kind))


def saved_adapter(folder: Path) -> dict[str, Any]:
    """The `adapter` of a run.json under which the adapter in `folder` goes on in its own shape."""
    saved = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    method = saved_method(saved)
    if method in LAYERS or method == "adalora":
        targets = saved.get("target_modules") or "all-linear"
        shape = {"r": saved.get("r", 16), "alpha": saved.get("lora_alpha", 32), "dropout": 0.0}
        return {"method": method, **shape, "targets": targets if isinstance(targets, str) else sorted(targets)}
    if method in VIRTUAL:
        return {"method": method, "virtual_tokens": saved.get("num_virtual_tokens", 20)}
    if method in BOTTLENECKS:
        return {"method": method, "bottleneck": saved.get("size", 64)}
    return {"method": method}


def require_copy(adapter: Any, start: Path) -> None:
    """Refuse an adapter that cannot begin as a copy of the one in `start`."""
    saved = saved_adapter(start)
    was = saved["method"]
    if reason := continuation_refusal(was):
        raise RunFileError("start_adapter", reason)
    if was != ("lora" if adapter.method == "qlora" else adapter.method):
        raise RunFileError("adapter.method", f"is {adapter.method}, but the start adapter is {was}; a copy stays so")
    for field in SHAPE:
        mine = getattr(adapter, field)
        if field in saved and saved[field] != mine:
            message = f"is {mine}, but the start adapter has {saved[field]}; a copy needs the same shape"
            raise RunFileError(f"adapter.{field}", message)
