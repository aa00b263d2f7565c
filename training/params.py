"""Hyper-parameters of every kind of run, with the bounds and words that the engine checks and the web form shows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from training.fields import RunFileError, param

OPTIMIZER, DATA, LOSS, SCHEDULE, SAMPLING, SIZE = "Optimizer", "Data", "Loss", "Schedule", "Sampling", "Model size"
MANY = 100_000_000


def _learning_rate(lora: float, full: float) -> Any:
    # Defaults follow "ten times the full fine-tuning rate for LoRA" (Schulman et al. 2025, LoRA Without Regret).
    return param(lora, "Learning rate", "Peak step size of AdamW.", group=OPTIMIZER, min=1e-8, max=1.0, full=full)


def _warmup(default: float) -> Any:
    text = "Share of the run in which the learning rate rises."
    return param(default, "Warm-up", text, group=SCHEDULE, min=0.0, max=0.9, unit="share")


def _decay(default: str) -> Any:
    text = "How the learning rate falls after the warm-up."
    return param(default, "Decay", text, group=SCHEDULE, choices=("cosine", "linear", "constant"))


def _weight_decay(default: float = 0.0) -> Any:
    return param(default, "Weight decay", "AdamW's decoupled decay.", group=OPTIMIZER, min=0.0, max=1.0)


def _max_grad_norm() -> Any:
    text = "Longest gradient; longer ones are scaled down."
    return param(1.0, "Gradient clipping", text, group=OPTIMIZER, min=1e-6, max=1e6)


def _checkpoint_every(default: int) -> Any:
    text = "How much work a killed run may lose; 0: only when stopped and at the end."
    return param(default, "Checkpoint every", text, group=SCHEDULE, min=0, max=MANY, unit="steps")


def _sample_every(default: int) -> Any:
    text = "0: only at the end."
    return param(default, "Show samples every", text, group=SCHEDULE, min=0, max=MANY, unit="steps")


def _sample_prompts() -> Any:
    text = "Held-out prompts answered for the samples page."
    return param(4, "Sample prompts", text, group=SAMPLING, min=0, max=256, unit="prompts")


def _label_smoothing() -> Any:
    text = "Share of judgements assumed to be the wrong way round."
    return param(0.0, "Label smoothing", text, group=LOSS, min=0.0, max=0.49, unit="share")


def _batch_size(default: int, text: str) -> Any:
    return param(default, "Batch size", text, group=DATA, min=1, max=65536, unit="rows")


def _max_new_tokens() -> Any:
    return param(128, "Longest answer", "Tokens of one answer.", group=SAMPLING, min=1, max=65536, unit="tokens")


def _max_prompt_length() -> Any:
    text = "Longer prompts are left out and counted."
    return param(512, "Longest prompt", text, group=DATA, min=1, max=1_048_576, unit="tokens")


def _max_dropped_share() -> Any:
    text = "The run refuses to start when a larger share of the rows is unusable."
    return param(0.01, "Rows that may be left out", text, group=DATA, min=0.0, max=1.0, unit="share")


def _long_prompts() -> Any:
    text = "What happens to a row that is too long: left out, or its prompt loses its beginning; both are counted."
    return param("drop", "Too long prompts", text, group=DATA, choices=("drop", "cut"))


def _split(default: str) -> Any:
    return param(default, "Split", "Which prompts of the snapshot.", group=DATA, choices=("train", "eval"))


def _temperature(minimum: float = 0.0) -> Any:
    text = "1: sample from the policy as it is." + ("" if minimum else " 0: always the likeliest token.")
    return param(1.0, "Temperature", text, group=SAMPLING, min=minimum, max=10.0)


def _top_p() -> Any:
    text = "Sample from the likeliest tokens that hold this much probability."
    return param(1.0, "Top-p", text, group=SAMPLING, min=0.01, max=1.0)


def _responses(default: int) -> Any:
    text = "Different answers to the same prompt."
    return param(default, "Answers per prompt", text, group=SAMPLING, min=1, max=64)


def _limit() -> Any:
    return param(None, "Prompt limit", "Answer only the first so many prompts.", group=DATA, min=1, max=MANY)


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every method that learns from a snapshot shares."""

    epochs: float = param(1.0, "Epochs", "Passes over the training rows.", group=SCHEDULE, min=0.001, max=1000)
    max_steps: int | None = param(
        None, "Step limit", "Stop after this many updates; empty: by epochs.", group=SCHEDULE, min=1, max=MANY
    )
    batch_size: int = _batch_size(16, "Rows in one update.")
    max_length: int = param(
        1024,
        "Longest row",
        "Prompt and answer together; longer rows are left out and counted.",
        group=DATA,
        min=8,
        max=1_048_576,
        unit="tokens",
    )
    max_dropped_share: float = _max_dropped_share()
    warmup_ratio: float = _warmup(0.03)
    decay: str = _decay("cosine")
    weight_decay: float = _weight_decay()
    max_grad_norm: float = _max_grad_norm()
    eval_every: int = param(0, "Evaluate every", "0: only at the end.", group=SCHEDULE, min=0, max=MANY, unit="steps")
    checkpoint_every: int = _checkpoint_every(100)


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
    batch_size: int = _batch_size(32, "Windows of the context's length in one update.")
    learning_rate: float = param(
        2e-3,
        "Learning rate",
        "Peak step size of AdamW; small models bear large ones.",
        group=OPTIMIZER,
        min=1e-8,
        max=1.0,
    )
    weight_decay: float = _weight_decay(0.1)
    max_grad_norm: float = _max_grad_norm()
    warmup_ratio: float = _warmup(0.05)
    max_minutes: float | None = param(
        3.0, "Time limit", "Empty: by steps.", group=SCHEDULE, min=0.01, max=100_000, unit="minutes"
    )
    max_steps: int | None = param(None, "Step limit", "Empty: by time.", group=SCHEDULE, min=1, max=MANY)
    checkpoint_every: int = _checkpoint_every(100)

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
    learning_rate: float = _learning_rate(2e-4, 2e-5)
    epochs: float = param(
        3.0, "Epochs", "Passes over the training rows.", group=SCHEDULE, min=0.001, max=1000
    )  # Alpaca
    long_prompts: str = _long_prompts()
    loss_on: str = param(
        "completion", "Learn from", "The answers alone, or prompts as well.", group=LOSS, choices=("completion", "all")
    )


@dataclass(frozen=True, kw_only=True)
class Reward(Training):
    # 1e-4 and 1e-5: TRL's reward-modelling example scripts for LoRA and for full weights.
    learning_rate: float = _learning_rate(1e-4, 1e-5)
    long_prompts: str = _long_prompts()
    margin: bool = param(False, "Use margins", "Ask for a larger lead where the judges saw a clearer one.", group=LOSS)
    label_smoothing: float = _label_smoothing()
    # 0.01: Eisenstein et al. (2023), Helping or Herding, section 3.
    center_coefficient: float = param(
        0.01, "Centering", "Price of the mean reward drifting away from zero.", group=LOSS, min=0.0, max=10.0
    )


# Each loss of dpo with the beta of its paper: DPO section 6 (IPO, hinge and robust compare at the same), Tulu 3
# table 19, SimPO table 7, ORPO section 5 (its lambda), APO section 4.
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
    learning_rate: float = _learning_rate(5e-6, 5e-7)
    warmup_ratio: float = _warmup(0.1)
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
    # 1.0: gamma / beta = 0.5, Meng et al. (2024), appendix B.
    simpo_gamma: float = param(
        1.0, "SimPO margin", "How far the chosen answer must lead (simpo only).", group=LOSS, min=0.0, max=100.0
    )
    label_smoothing: float = _label_smoothing()
    sample_every: int = _sample_every(0)
    sample_prompts: int = _sample_prompts()
    max_new_tokens: int = _max_new_tokens()

    def __post_init__(self) -> None:
        if self.loss == "robust" and self.label_smoothing == 0:
            raise RunFileError("params.label_smoothing", "must be above zero for the robust loss")
        if self.label_smoothing and self.loss not in SMOOTHED:
            raise RunFileError("params.label_smoothing", f"means nothing to the {self.loss} loss; leave it at 0")
        if self.beta is None:
            object.__setattr__(self, "beta", BETAS[self.loss])


@dataclass(frozen=True, kw_only=True)
class KTO(Training):
    # 5e-6 and 5e-7: Ethayarajh et al. (2024), appendix A: at and a tenth of the authors' recommended rate.
    learning_rate: float = _learning_rate(5e-6, 5e-7)
    warmup_ratio: float = _warmup(0.1)
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
    sample_every: int = _sample_every(0)
    sample_prompts: int = _sample_prompts()
    max_new_tokens: int = _max_new_tokens()


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Proximal policy optimisation against a reward model; clip, gamma, lam as Ziegler et al. (2019), table 4."""

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
    learning_rate: float = _learning_rate(3e-5, 3e-6)
    value_learning_rate: float | None = param(
        None, "Value learning rate", "Empty: the same as the policy's.", group=OPTIMIZER, min=1e-8, max=1.0
    )
    weight_decay: float = _weight_decay()
    max_grad_norm: float = _max_grad_norm()
    warmup_ratio: float = _warmup(0.0)
    decay: str = _decay("linear")
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
    missing_eos_penalty: float = param(
        1.0, "Missing-end penalty", "Taken from the reward of an answer that never ends.", group=LOSS, min=0.0, max=1000
    )
    temperature: float = _temperature(0.01)
    max_new_tokens: int = _max_new_tokens()
    max_prompt_length: int = _max_prompt_length()
    max_dropped_share: float = _max_dropped_share()
    sample_every: int = _sample_every(20)
    eval_prompts: int = param(
        64,
        "Evaluation prompts",
        "Held-out prompts scored at the end.",
        group=SAMPLING,
        min=0,
        max=65536,
        unit="prompts",
    )
    checkpoint_every: int = _checkpoint_every(10)

    def __post_init__(self) -> None:
        if self.rollout_batch % self.minibatch:
            raise RunFileError(
                "params.minibatch", f"must divide rollout_batch {self.rollout_batch}, got {self.minibatch}"
            )
        if self.value_warmup_steps >= self.steps:
            message = f"must be below steps {self.steps}, or the policy never learns; got {self.value_warmup_steps}"
            raise RunFileError("params.value_warmup_steps", message)


@dataclass(frozen=True, kw_only=True)
class Generate:
    split: str = _split("train")
    responses_per_prompt: int = _responses(2)
    temperature: float = _temperature()
    top_p: float = _top_p()
    max_new_tokens: int = _max_new_tokens()
    max_prompt_length: int = _max_prompt_length()
    max_dropped_share: float = _max_dropped_share()
    batch_size: int = _batch_size(32, "Answers written at once.")
    limit: int | None = _limit()


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    # Objects {"name", "base_model", "adapter" | null, "reference": name | null}; runfile makes PolicyRefs of them.
    policies: list[Any] = dataclasses.field(
        default_factory=list, metadata={"label": "Policies", "help": "Who answers.", "group": DATA}
    )
    split: str = _split("eval")
    temperature: float = _temperature()
    top_p: float = _top_p()
    responses_per_prompt: int = _responses(1)
    max_new_tokens: int = _max_new_tokens()
    max_prompt_length: int = _max_prompt_length()
    max_dropped_share: float = _max_dropped_share()
    batch_size: int = _batch_size(32, "Answers written at once.")
    limit: int | None = _limit()


PARAMS: dict[str, type] = {
    "pretrain": Pretrain,
    "sft": SFT,
    "reward": Reward,
    "dpo": DPO,
    "kto": KTO,
    "ppo": PPO,
    "generate": Generate,
    "evaluate": Evaluate,
}


def defaults(kind: str, adapter_method: str | None = "lora") -> dict[str, Any]:
    """The default of every setting of `kind`, for an adapter (`"lora"`) or for all weights (`None`)."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(PARAMS[kind]):
        full = field.metadata.get("full")
        plain = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        values[field.name] = full if adapter_method is None and full is not None else plain
    return values
