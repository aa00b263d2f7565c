"""Hyper-parameters of the kinds of run that learn from rows, with the source of each default beside it."""

from __future__ import annotations

from dataclasses import dataclass

from training.fields import RunFileError, param
from training.setting_fields import (
    DATA,
    LOSS,
    MANY,
    OPTIMIZER,
    SCHEDULE,
    SIZE,
    batch_size_field,
    checkpoint_every_field,
    decay_field,
    label_smoothing_field,
    learning_rate_field,
    long_prompts_field,
    max_dropped_share_field,
    max_grad_norm_field,
    max_new_tokens_field,
    sample_every_field,
    sample_prompts_field,
    warmup_field,
    weight_decay_field,
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every method that learns from a snapshot shares."""

    epochs: float = param(1.0, "Epochs", "Passes over the training rows.", group=SCHEDULE, min=0.001, max=1000)
    max_steps: int | None = param(
        None, "Step limit", "Stop after this many updates; empty: by epochs.", group=SCHEDULE, min=1, max=MANY
    )
    batch_size: int = batch_size_field(16, "Rows in one update.")
    max_length: int = param(
        1024,
        "Longest row",
        "Prompt and answer together; longer rows are left out and counted.",
        group=DATA,
        min=8,
        max=1_048_576,
        unit="tokens",
    )
    max_dropped_share: float = max_dropped_share_field()
    warmup_ratio: float = warmup_field(0.03)
    decay: str = decay_field("cosine")
    weight_decay: float = weight_decay_field()
    max_grad_norm: float = max_grad_norm_field()
    eval_every: int = param(0, "Evaluate every", "0: only at the end.", group=SCHEDULE, min=0, max=MANY, unit="steps")
    checkpoint_every: int = checkpoint_every_field(100)


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """A small Llama and its tokenizer, from scratch, on a corpus inside the run directory."""

    corpus: str = param("corpus.jsonl", "Corpus", "File in the run directory; lines with messages or text.", group=DATA)
    vocab_size: int = param(
        1024, "Vocabulary", "Byte-level BPE tokens.", group=SIZE, min=300, max=262_144, unit="tokens"
    )
    hidden_size: int = param(192, "Hidden size", "Width of the model.", group=SIZE, min=8, max=16_384)
    layers: int = param(4, "Layers", "Depth of the model.", group=SIZE, min=1, max=200)
    heads: int = param(4, "Attention heads", "Must divide the hidden size.", group=SIZE, min=1, max=256)
    context: int = param(256, "Context", "Longest text.", group=SIZE, min=16, max=1_048_576, unit="tokens")
    batch_size: int = batch_size_field(32, "Windows of the context's length in one update.")
    learning_rate: float = param(
        2e-3,
        "Learning rate",
        "Peak step size of AdamW; small models bear large ones.",
        group=OPTIMIZER,
        min=1e-8,
        max=1.0,
    )
    weight_decay: float = weight_decay_field(0.1)
    max_grad_norm: float = max_grad_norm_field()
    warmup_ratio: float = warmup_field(0.05)
    max_minutes: float | None = param(
        3.0, "Time limit", "Empty: by steps.", group=SCHEDULE, min=0.01, max=100_000, unit="minutes"
    )
    max_steps: int | None = param(None, "Step limit", "Empty: by time.", group=SCHEDULE, min=1, max=MANY)
    checkpoint_every: int = checkpoint_every_field(100)

    def __post_init__(self) -> None:
        if self.hidden_size % self.heads or (self.hidden_size // self.heads) % 2:
            raise RunFileError(
                "params.heads", f"must divide hidden_size {self.hidden_size} into even parts, got {self.heads}"
            )
        if self.max_minutes is None and self.max_steps is None:
            raise RunFileError("params.max_steps", "is needed when max_minutes is empty")


@dataclass(frozen=True, kw_only=True)
class SFT(Training):
    # 2e-4: QLoRA (Dettmers et al. 2023, table 9); 2e-5: Stanford Alpaca.
    learning_rate: float = learning_rate_field(2e-4, 2e-5)
    epochs: float = param(
        3.0, "Epochs", "Passes over the training rows.", group=SCHEDULE, min=0.001, max=1000
    )  # Alpaca
    long_prompts: str = long_prompts_field()
    loss_on: str = param(
        "completion", "Learn from", "The answers alone, or prompts as well.", group=LOSS, choices=("completion", "all")
    )


@dataclass(frozen=True, kw_only=True)
class Reward(Training):
    # 1e-4 and 1e-5: TRL's reward-modelling example scripts for LoRA and for full weights.
    learning_rate: float = learning_rate_field(1e-4, 1e-5)
    long_prompts: str = long_prompts_field()
    margin: bool = param(False, "Use margins", "Ask for a larger lead where the judges saw a clearer one.", group=LOSS)
    labels: str = param(
        "hard",
        "Labels",
        "Each verdict as certain, or only as likely as its strength, the judges' agreement or the posterior says.",
        group=LOSS,
        choices=("hard", "strength", "agreement", "posterior"),
    )
    off_topic: float = param(
        0.0,
        "Answers to other prompts",
        "For this share of the pairs one more: the preferred answer beside one that was preferred for another prompt.",
        group=LOSS,
        min=0.0,
        max=1.0,
    )
    per_prompt: bool = param(
        False, "Prompts weigh alike", "A ranking of many answers counts as much as one pair.", group=LOSS
    )
    ranking_loss: str = param(
        "all_pairs",
        "Loss of rankings",
        "All pairs of a ranking at once, or its likelihood by repeated choice (Plackett-Luce).",
        group=LOSS,
        choices=("all_pairs", "plackett_luce"),
    )
    rating_loss: str = param(
        "mse",
        "Loss of ratings",
        "Squared error of each aspect, or cross-entropy with its share of the scale.",
        group=LOSS,
        choices=("mse", "bce"),
    )
    aspect_weights: str | None = param(
        None, "Aspect weights", "What each rated aspect adds to the score, as helpful=0.7, brief=0.3. Empty: the mean.",
        group=LOSS,
    )  # fmt: skip
    # 1: one score; Coste et al. (2024) find four or five enough, Eisenstein et al. (2023) take 5.
    members: int = param(
        1, "Members", "Reward models in one; how far they are apart tells what is uncertain.",
        group=LOSS, min=1, max=64,
    )  # fmt: skip
    # heads: nearly free. Coste et al. (2024) and Eisenstein et al. (2023) take whole models.
    ensemble: str = param(
        "heads",
        "Each member has",
        "A score head on one adapter, or an adapter of its own, which is that many times the work.",
        group=LOSS,
        choices=("heads", "adapters"),
    )
    label_smoothing: float = label_smoothing_field()
    # 0.01: Eisenstein et al. (2023), Helping or Herding, equation 2, as TRL recommends it.
    center_coefficient: float = param(
        0.01, "Centering", "Price of the mean reward drifting away from zero.", group=LOSS, min=0.0, max=10.0
    )

    def __post_init__(self) -> None:
        if self.ensemble == "adapters" and self.members < 2:
            message = "must be 2 or more for an ensemble of adapters; or set params.ensemble to heads"
            raise RunFileError("params.members", message)


# Each loss of dpo with the beta of its paper: DPO appendix B (IPO, hinge and robust are compared at the same), Tulu 3,
# SimPO, ORPO (its lambda), APO section 5.2.
BETAS = {
    "sigmoid": 0.1,
    "ipo": 0.1,
    "hinge": 0.1,
    "robust": 0.1,
    "sigmoid_norm": 5.0,
    "simpo": 2.0,
    "orpo": 0.1,
    "apo_zero": 0.1,
    "apo_down": 0.1,
}
REFERENCE_FREE = ("simpo", "orpo")  # compare the policy with nothing but itself
SMOOTHED = ("sigmoid", "sigmoid_norm", "simpo", "robust")


@dataclass(frozen=True, kw_only=True)
class DPO(Training):
    # 5e-6 and 5e-7: Zephyr (Tunstall et al. 2023), LoRA and full weights.
    learning_rate: float = learning_rate_field(5e-6, 5e-7)
    warmup_ratio: float = warmup_field(0.1)
    beta: float | None = param(
        None,
        "Beta",
        "Price of drifting away from the reference policy. Empty: the loss's own, 0.1; simpo 2, sigmoid_norm 5.",
        group=LOSS,
        min=1e-4,
        max=100.0,
    )
    loss: str = param(
        "sigmoid",
        "Loss",
        "sigmoid is DPO itself; robust assumes noisy labels; simpo and orpo need no reference; the docs compare them.",
        group=LOSS,
        choices=tuple(BETAS),
    )
    # 1.0: gamma / beta = 0.5, where the authors of SimPO (Meng et al. 2024) begin.
    simpo_gamma: float = param(
        1.0, "SimPO margin", "How far the chosen answer must lead (simpo only).", group=LOSS, min=0.0, max=100.0
    )
    label_smoothing: float = label_smoothing_field()
    sample_every: int = sample_every_field(0)
    sample_prompts: int = sample_prompts_field()
    max_new_tokens: int = max_new_tokens_field()

    def __post_init__(self) -> None:
        if self.loss == "robust" and self.label_smoothing == 0:
            raise RunFileError("params.label_smoothing", "must be above zero for the robust loss")
        if self.label_smoothing and self.loss not in SMOOTHED:
            raise RunFileError("params.label_smoothing", f"means nothing to the {self.loss} loss; leave it at 0")
        if self.simpo_gamma != DPO.simpo_gamma and self.loss != "simpo":
            raise RunFileError("params.simpo_gamma", f"means nothing to the {self.loss} loss; leave it out")
        if self.beta is None:
            object.__setattr__(self, "beta", BETAS[self.loss])


@dataclass(frozen=True, kw_only=True)
class KTO(Training):
    # 5e-6 and 5e-7: the rate that the authors of KTO (Ethayarajh et al. 2024) recommend, and a tenth of it.
    learning_rate: float = learning_rate_field(5e-6, 5e-7)
    warmup_ratio: float = warmup_field(0.1)
    batch_size: int = param(
        16, "Batch size", "Rows in one update; they also estimate the reference point.", group=DATA, min=2, max=65536,
        unit="rows",
    )  # fmt: skip
    # 0.1: Ethayarajh et al. (2024), section 4.2.
    beta: float = param(
        0.1, "Beta", "Price of drifting away from the reference policy.", group=LOSS, min=1e-4, max=10.0
    )
    desirable_weight: float = param(
        1.0, "Weight of wanted answers", "Raise it when they are the fewer.", group=LOSS, min=0.01, max=100.0
    )
    undesirable_weight: float = param(
        1.0, "Weight of unwanted answers", "Raise it when they are the fewer.", group=LOSS, min=0.01, max=100.0
    )
    sample_every: int = sample_every_field(0)
    sample_prompts: int = sample_prompts_field()
    max_new_tokens: int = max_new_tokens_field()
