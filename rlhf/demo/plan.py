"""The demo's sizes and settings, found by experiment on two CPU cores (docs/benchmarks.md has the figures)."""

from dataclasses import dataclass
from typing import Any

from training import machine

SEED = 0
LABEL_PROJECT, LABEL_NAME = "support-desk", "Support desk"
DEMO_PROJECT, DEMO_NAME = "support-desk-answers", "Support desk: model answers"

CORPUS_TEXTS = 15_000  # what pretraining reads once
DEMONSTRATIONS = 450
PAIR_PROMPTS = 4_000
JUDGES = 3  # of each pair, whose noise a reward model averages out (docs/benchmarks.md)
EVAL_PROMPTS = 300
NEXT_PROMPTS = 100  # the batch that waits for a person afterwards

PRETRAIN: dict[str, Any] = {
    "max_minutes": None,  # a number of steps makes the result the same on a slow machine
    "max_steps": 270,
    "batch_size": 16,
    "context": 128,
    "learning_rate": 4e-3,
    "checkpoint_every": 200,
}
# All prompts of this world follow a few templates, so nearly equal ones are no sign of a copy.
SNAPSHOT: dict[str, Any] = {
    "aggregation": "each",
    "split": {"by": "prompt", "eval_share": 0.15, "seed": 0, "near": False},
}
GATE = {"win_rate_low": 0.5, "kl_max": 15.0}
LORA: dict[str, Any] = {"method": "lora", "r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}
# Twice the rank and a quarter of the scale: of the adapters tried the one that agrees most (docs/benchmarks.md).
REWARD_LORA: dict[str, Any] = LORA | {"r": 32, "alpha": 16}
SMALL_BYTES = 100_000_000  # weights up to this size are trained whole in SFT, larger ones get LoRA


@dataclass(frozen=True)
class Settings:
    """The parameters of each run of the demo."""

    sft: dict[str, Any]
    sft_adapter: dict[str, Any] | None
    generate: dict[str, Any]
    reward: dict[str, Any]
    dpo: dict[str, Any]
    ppo: dict[str, Any]
    evaluate: dict[str, Any]
    at_once: int  # runs that may train beside each other
    shared: dict[str, Any]  # hardware of those that do


def settings_for(size: int, *, ours: bool, judges: int = 1) -> Settings:
    """For a base model of `size` bytes; `ours` is the small one made here, whose tokenizer knows the desk's words.

    A pair stands in the snapshot once for each of its `judges`, and DPO reads it once in all.
    """
    small = size <= SMALL_BYTES
    longest = 128 if ours else 512  # tokens of prompt and answer
    answer = 64 if ours else 192  # tokens; good answers have about 25 of our own, other tokenizers need more
    # Models of a few million parameters bear, and need, larger steps than the engine's defaults, which suit billions.
    sft, reward, dpo, ppo = ({"learning_rate": rate} if small else {} for rate in (5e-4, 1e-3, 6e-4, 1e-3))
    rows = {"batch_size": 16, "max_length": longest, "max_dropped_share": 0.05}
    sampling = {"temperature": 1.0, "max_new_tokens": answer, "batch_size": 256 if small else 32}
    return Settings(
        sft=rows | sft | {"epochs": 3},
        sft_adapter=None if small else LORA,
        generate=sampling,
        # Small batches: what was learnt in more steps was nearer to the ceiling (docs/benchmarks.md).
        reward=rows | reward | {"epochs": 2, "batch_size": 6, "labels": "strength", "off_topic": 0.6},
        dpo=rows | dpo | {"epochs": 1 / judges, "beta": 0.5, "max_new_tokens": answer},
        ppo=ppo | _PPO | {"max_new_tokens": answer},
        evaluate=sampling,
        # Steps this small do not fill two cores: the reward model and DPO, which do not wait for each other, take half
        # of them each, and PPO has its answers and its minibatches in lanes. A large model needs the whole machine,
        # and all of its memory.
        at_once=2 if small else 1,
        shared={"threads": max(1, machine.cores() // 2)} if small else {},
    )


_PPO: dict[str, Any] = {
    "steps": 27,
    "rollout_batch": 64,
    "minibatch": 32,
    "ppo_epochs": 2,
    "beta": 0.2,
    "value_warmup_steps": 2,
    "sample_every": 16,
    "checkpoint_every": 16,
}
