"""Hyper-parameters of every kind of run, with the bounds and words that the engine checks and the web form shows."""

from __future__ import annotations

import dataclasses
from typing import Any

from training.learning_params import DPO, KTO, REFERENCE_FREE, SFT, Pretrain, Reward
from training.rollout_params import GRPO, PPO, RLOO, BestOfN, Evaluate, Generate, Merge

__all__ = ["PARAMS", "REFERENCE_FREE", "defaults"]

PARAMS: dict[str, type] = {
    "pretrain": Pretrain,
    "sft": SFT,
    "reward": Reward,
    "dpo": DPO,
    "kto": KTO,
    "ppo": PPO,
    "grpo": GRPO,
    "rloo": RLOO,
    "best_of_n": BestOfN,
    "merge": Merge,
    "generate": Generate,
    "evaluate": Evaluate,
}


# By how much an adapter's usual rate differs from LoRA's, from the rates of its paper over QLoRA's 2e-4 for SFT:
# AdaLoRA 5e-4 (Zhang et al. 2023), IA3 3e-3 (T-Few, Liu et al. 2022), prefix 1e-2 and prompt 3e-2
# (PEFT's examples for decoders; Lester et al. 2021 take 0.3 with Adafactor), P-tuning 1e-3 (PEFT's example), and
# bottlenecks 1e-4 (Pfeiffer et al. 2021).
RATES = {
    "adalora": 2.5,
    "ia3": 15.0,
    "prefix": 50.0,
    "prompt": 150.0,
    "p_tuning": 5.0,
    "houlsby": 0.5,
    "pfeiffer": 0.5,
}


def defaults(kind: str, adapter_method: str | None = "lora") -> dict[str, Any]:
    """The default of every setting of `kind`, for an adapter by its method or for all weights (`None`)."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(PARAMS[kind]):
        full = field.metadata.get("full")
        plain: Any = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        values[field.name] = full if adapter_method is None and full is not None else plain
        if field.name == "learning_rate" and adapter_method in RATES:
            values[field.name] = float(f"{plain * RATES[adapter_method]:.1g}")
    return values
