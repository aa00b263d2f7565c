"""Hyper-parameters of the kinds of run that answer prompts, with the source of each default beside it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from training import rules
from training.fields import RunFileError, param
from training.setting_fields import (
    DATA,
    LOSS,
    MANY,
    OPTIMIZER,
    SAMPLING,
    SCHEDULE,
    batch_size_field,
    caution_field,
    checkpoint_every_field,
    decay_field,
    learning_rate_field,
    limit_field,
    max_dropped_share_field,
    max_grad_norm_field,
    max_new_tokens_field,
    max_prompt_length_field,
    responses_field,
    sample_every_field,
    split_field,
    temperature_field,
    top_p_field,
    warmup_field,
    weight_decay_field,
)


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Proximal policy optimisation against a reward model; clip, gamma, lam as Ziegler et al. (2019)."""

    steps: int = param(100, "Steps", "Rounds of answering and learning.", group=SCHEDULE, min=1, max=MANY)
    rollout_batch: int = param(
        64,
        "Answers per step",
        "Prompts answered before each round of learning.",
        group=DATA,
        min=1,
        max=65536,
        unit="rows",
    )
    minibatch: int = param(
        16,
        "Minibatch",
        "Answers in one update; must divide the answers per step.",
        group=DATA,
        min=1,
        max=65536,
        unit="rows",
    )
    ppo_epochs: int = param(
        4, "Passes per step", "Passes over the answers of one step.", group=SCHEDULE, min=1, max=100
    )
    # 3e-6 is TRL's last PPO default for full weights; LoRA takes about ten times as much.
    learning_rate: float = learning_rate_field(3e-5, 3e-6)
    value_learning_rate: float | None = param(
        None, "Value learning rate", "Empty: the same as the policy's.", group=OPTIMIZER, min=1e-8, max=1.0
    )
    weight_decay: float = weight_decay_field()
    max_grad_norm: float = max_grad_norm_field()
    warmup_ratio: float = warmup_field(0.0)
    decay: str = decay_field("linear")
    beta: float = param(
        0.05,
        "KL coefficient",
        "Price per nat of drifting away from the reference policy.",
        group=LOSS,
        min=0.0,
        max=10.0,
    )
    kl_target: float | None = param(
        None,
        "KL target",
        "When set, the coefficient adapts to hold this KL per answer.",
        group=LOSS,
        min=0.001,
        max=1000,
        unit="nats",
    )
    kl_horizon: int = param(
        10_000, "KL horizon", "Answers over which the coefficient adapts.", group=LOSS, min=1, max=MANY, unit="answers"
    )
    clip: float = param(
        0.2, "Clip range", "How far one step may move a token's probability.", group=LOSS, min=0.01, max=0.99
    )
    value_clip: float = param(0.2, "Value clip range", "The same for the value head.", group=LOSS, min=0.01, max=100.0)
    value_coefficient: float = param(
        0.1, "Value coefficient", "Weight of the value loss.", group=LOSS, min=0.0, max=100.0
    )
    gamma: float = param(1.0, "Discount", "1: an answer is one episode.", group=LOSS, min=0.0, max=1.0)
    lam: float = param(0.95, "GAE lambda", "Between one-step (0) and full returns (1).", group=LOSS, min=0.0, max=1.0)
    value_warmup_steps: int = param(
        5, "Value warm-up", "Steps in which only the value head learns.", group=SCHEDULE, min=0, max=MANY, unit="steps"
    )
    whiten: bool = param(True, "Whiten advantages", "Give each step's advantages mean 0 and deviation 1.", group=LOSS)
    reward_norm: bool = param(True, "Normalize rewards", "Scale rewards by the reference policy's own.", group=LOSS)
    caution: float = caution_field()
    missing_eos_penalty: float = param(
        1.0, "Missing-end penalty", "Taken from the reward of an answer that never ends.", group=LOSS, min=0.0, max=1000
    )
    temperature: float = temperature_field(0.01)
    max_new_tokens: int = max_new_tokens_field()
    max_prompt_length: int = max_prompt_length_field()
    max_dropped_share: float = max_dropped_share_field()
    sample_every: int = sample_every_field(20)
    eval_prompts: int = param(
        64,
        "Evaluation prompts",
        "Held-out prompts scored at the end.",
        group=SAMPLING,
        min=0,
        max=65536,
        unit="prompts",
    )
    checkpoint_every: int = checkpoint_every_field(10)

    def __post_init__(self) -> None:
        if self.rollout_batch % self.minibatch:
            raise RunFileError(
                "params.minibatch", f"must divide rollout_batch {self.rollout_batch}, got {self.minibatch}"
            )
        if self.value_warmup_steps >= self.steps:
            message = f"must be below steps {self.steps}, or the policy never learns; got {self.value_warmup_steps}"
            raise RunFileError("params.value_warmup_steps", message)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """What GRPO and RLOO share: several answers to each prompt, scored by a reward model or by a rule."""

    steps: int = param(100, "Steps", "Rounds of answering and learning.", group=SCHEDULE, min=1, max=MANY)
    prompts_per_step: int = param(
        8, "Prompts per step", "Prompts answered before each round of learning.", group=DATA, min=1, max=65536,
        unit="prompts",
    )  # fmt: skip
    # 8: TRL's default, and between the 4 of RLOO's and the 64 of DeepSeekMath's experiments.
    samples: int = param(8, "Answers per prompt", "They judge one another.", group=SAMPLING, min=2, max=256)
    minibatch: int = param(
        32, "Minibatch", "Answers in one update; must divide the answers of a step.", group=DATA, min=1, max=65536,
        unit="rows",
    )  # fmt: skip
    passes: int = param(1, "Passes per step", "Passes over the answers of one step.", group=SCHEDULE, min=1, max=100)
    # 1e-6: Shao et al. (2024) for full weights; LoRA takes about ten times as much.
    learning_rate: float = learning_rate_field(1e-5, 1e-6)
    weight_decay: float = weight_decay_field()
    max_grad_norm: float = max_grad_norm_field()
    warmup_ratio: float = warmup_field(0.0)
    decay: str = decay_field("constant")
    rule: str | None = param(
        None,
        "Rule",
        f"Scores answers in the place of a reward model: {rules.KNOWN}.",
        group=LOSS,
    )
    caution: float = caution_field()
    missing_eos_penalty: float = param(
        0.0, "Missing-end penalty", "Taken from the reward of an answer that never ends.", group=LOSS, min=0.0, max=1000
    )
    temperature: float = temperature_field(0.01)
    max_new_tokens: int = max_new_tokens_field()
    max_prompt_length: int = max_prompt_length_field()
    max_dropped_share: float = max_dropped_share_field()
    sample_every: int = sample_every_field(20)
    eval_prompts: int = param(
        64, "Evaluation prompts", "Held-out prompts scored at the end.", group=SAMPLING, min=0, max=65536,
        unit="prompts",
    )  # fmt: skip
    checkpoint_every: int = checkpoint_every_field(10)
    clip: float = param(0.2, "Clip range", "How far one step may move a probability.", group=LOSS, min=0.01, max=0.99)

    def __post_init__(self) -> None:
        if self.rollout_batch % self.minibatch:
            message = f"must divide the {self.rollout_batch} answers of a step, got {self.minibatch}"
            raise RunFileError("params.minibatch", message)
        if self.rule is not None:
            if self.caution:
                raise RunFileError("params.caution", "has no meaning with a rule, which has no doubts; leave it at 0")
            try:
                rules.parse(self.rule)
            except ValueError as error:
                raise RunFileError("params.rule", str(error)) from error

    @property
    def rollout_batch(self) -> int:
        """Answers of one step, which also fit in memory at once elsewhere."""
        return self.prompts_per_step * self.samples

    @property
    def kl_target(self) -> None:
        """Nothing adapts the coefficient here."""
        return None


@dataclass(frozen=True, kw_only=True)
class GRPO(Groups):
    # 0.04: Shao et al. (2024), DeepSeekMath.
    beta: float = param(
        0.04, "KL coefficient", "Price of drifting away, in the loss of every token.", group=LOSS, min=0.0, max=10.0
    )
    # 0.28: Yu et al. (2025), section 4.1, where it is set.
    clip_high: float | None = param(
        None, "Upper clip range", "Empty: the same; DAPO takes 0.28.", group=LOSS, min=0.01, max=10.0
    )
    scale: str = param(
        "group",
        "Scale of advantages",
        "Deviation of the group, of the batch, or none (Dr. GRPO).",
        group=LOSS,
        choices=("group", "batch", "none"),
    )
    loss: str = param(
        "grpo",
        "Mean over",
        "grpo: answers; dapo: tokens; dr_grpo: tokens over the longest answer.",
        group=LOSS,
        choices=("grpo", "dapo", "dr_grpo"),
    )


@dataclass(frozen=True, kw_only=True)
class RLOO(Groups):
    # 0.05: TRL's default; Ahmadian et al. (2024) take 0.03.
    beta: float = param(
        0.05, "KL coefficient", "Price per nat of drifting away, taken from the reward.", group=LOSS, min=0.0, max=10.0
    )


@dataclass(frozen=True, kw_only=True)
class BestOfN:
    """Answers written, scored by a reward model, and the best of each prompt kept."""

    split: str = split_field("train")
    # 16: what Nakano et al. (2021) take for their model of 13 billion weights, 64 for the one of 175.
    samples: int = param(16, "Answers per prompt", "Written and scored.", group=SAMPLING, min=2, max=1024)
    keep: str = param(
        "best",
        "Keep",
        "The best alone, or the best and the worst as a pair to judge.",
        group=SAMPLING,
        choices=("best", "best_and_worst"),
    )
    caution: float = caution_field()
    temperature: float = temperature_field(0.01)
    top_p: float = top_p_field()
    max_new_tokens: int = max_new_tokens_field()
    max_prompt_length: int = max_prompt_length_field()
    max_dropped_share: float = max_dropped_share_field()
    batch_size: int = batch_size_field(64, "Answers written at once.")
    limit: int | None = limit_field()


@dataclass(frozen=True, kw_only=True)
class Merge:
    """An adapter folded into the weights it stands on."""


def _require_difference(params: Generate | Evaluate) -> None:
    if params.temperature == 0 and params.responses_per_prompt > 1:
        message = f"must be 1 at temperature 0, where all answers are alike; got {params.responses_per_prompt}"
        raise RunFileError("params.responses_per_prompt", message)


@dataclass(frozen=True, kw_only=True)
class Generate:
    split: str = split_field("train")
    responses_per_prompt: int = responses_field(2)
    temperature: float = temperature_field()
    top_p: float = top_p_field()
    max_new_tokens: int = max_new_tokens_field()
    max_prompt_length: int = max_prompt_length_field()
    max_dropped_share: float = max_dropped_share_field()
    batch_size: int = batch_size_field(32, "Answers written at once.")
    limit: int | None = limit_field()

    def __post_init__(self) -> None:
        _require_difference(self)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    # Objects {"name", "base_model", "adapter" | null, "reference": name | null}; runfile makes PolicyRefs of them.
    policies: list[Any] = dataclasses.field(
        default_factory=list, metadata={"label": "Policies", "help": "Who answers.", "group": DATA}
    )
    split: str = split_field("eval")
    temperature: float = temperature_field()
    top_p: float = top_p_field()
    responses_per_prompt: int = responses_field(1)
    max_new_tokens: int = max_new_tokens_field()
    max_prompt_length: int = max_prompt_length_field()
    max_dropped_share: float = max_dropped_share_field()
    batch_size: int = batch_size_field(32, "Answers written at once.")
    limit: int | None = limit_field()

    def __post_init__(self) -> None:
        _require_difference(self)
