"""Fields that several kinds of run share, each with the words and bounds that the engine checks and the form shows."""

from __future__ import annotations

from typing import Any

from training.fields import param

OPTIMIZER, DATA, LOSS, SCHEDULE, SAMPLING, SIZE = "Optimizer", "Data", "Loss", "Schedule", "Sampling", "Model size"
MANY = 100_000_000


def learning_rate_field(lora: float, full: float) -> Any:
    # Defaults follow "ten times the full fine-tuning rate for LoRA" (Schulman et al. 2025, LoRA Without Regret).
    return param(lora, "Learning rate", "Peak step size of AdamW.", group=OPTIMIZER, min=1e-8, max=1.0, full=full)


def warmup_field(default: float) -> Any:
    text = "Share of the run in which the learning rate rises."
    return param(default, "Warm-up", text, group=SCHEDULE, min=0.0, max=0.9, unit="share")


def decay_field(default: str) -> Any:
    text = "How the learning rate falls after the warm-up."
    return param(default, "Decay", text, group=SCHEDULE, choices=("cosine", "linear", "constant"))


def weight_decay_field(default: float = 0.0) -> Any:
    return param(default, "Weight decay", "AdamW's decoupled decay.", group=OPTIMIZER, min=0.0, max=1.0)


def max_grad_norm_field() -> Any:
    text = "Longest gradient; longer ones are scaled down."
    return param(1.0, "Gradient clipping", text, group=OPTIMIZER, min=1e-6, max=1e6)


def checkpoint_every_field(default: int) -> Any:
    text = "How much work a killed run may lose; 0: only when stopped and at the end."
    return param(default, "Checkpoint every", text, group=SCHEDULE, min=0, max=MANY, unit="steps")


def sample_every_field(default: int) -> Any:
    text = "0: only at the end."
    return param(default, "Show samples every", text, group=SCHEDULE, min=0, max=MANY, unit="steps")


def sample_prompts_field() -> Any:
    text = "Held-out prompts answered for the samples page."
    return param(4, "Sample prompts", text, group=SAMPLING, min=0, max=256, unit="prompts")


def label_smoothing_field() -> Any:
    text = "Share of judgements assumed to be the wrong way round."
    return param(0.0, "Label smoothing", text, group=LOSS, min=0.0, max=0.49, unit="share")


def caution_field() -> Any:
    text = "A score is the mean of the reward model's members less this many of their deviations; 0: the mean."
    return param(0.0, "Caution", text, group=LOSS, min=0.0, max=100.0)


def batch_size_field(default: int, text: str) -> Any:
    return param(default, "Batch size", text, group=DATA, min=1, max=65536, unit="rows")


def max_new_tokens_field() -> Any:
    return param(128, "Longest answer", "Tokens of one answer.", group=SAMPLING, min=1, max=65536, unit="tokens")


def max_prompt_length_field() -> Any:
    text = "Longer prompts are left out and counted."
    return param(512, "Longest prompt", text, group=DATA, min=1, max=1_048_576, unit="tokens")


def max_dropped_share_field() -> Any:
    text = "The run refuses to start when a larger share of the rows is unusable."
    return param(0.01, "Rows that may be left out", text, group=DATA, min=0.0, max=1.0, unit="share")


def long_prompts_field() -> Any:
    text = "What happens to a row that is too long: left out, or its prompt loses its beginning; both are counted."
    return param("drop", "Too long prompts", text, group=DATA, choices=("drop", "cut"))


def split_field(default: str) -> Any:
    return param(default, "Split", "Which prompts of the snapshot.", group=DATA, choices=("train", "eval"))


def temperature_field(minimum: float = 0.0) -> Any:
    text = "1: sample from the policy as it is." + ("" if minimum else " 0: always the likeliest token.")
    return param(1.0, "Temperature", text, group=SAMPLING, min=minimum, max=10.0)


def top_p_field() -> Any:
    text = "Sample from the likeliest tokens that hold this much probability."
    return param(1.0, "Top-p", text, group=SAMPLING, min=0.01, max=1.0)


def responses_field(default: int) -> Any:
    text = "Different answers to the same prompt."
    return param(default, "Answers per prompt", text, group=SAMPLING, min=1, max=64)


def limit_field() -> Any:
    return param(None, "Prompt limit", "Answer only the first so many prompts.", group=DATA, min=1, max=MANY)
