"""What a run file is made of, once it is checked: every path absolute, every setting present."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import compatibility
from training.fields import RunFileError, param


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    path: Path
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class SnapshotRef:
    path: Path
    hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyRef:
    """One policy of an evaluate run; KL is measured to the policy named `reference`."""

    name: str
    base_model: ModelRef
    adapter: ModelRef | None = None
    reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What is trained in place of the weights. `compatibility.FIELDS` says which settings belong to which method."""

    method: str = param(
        "lora",
        "Adapter",
        "A small trained addition to frozen weights.",
        group="Adapter",
        choices=compatibility.METHODS,
    )
    # r 16, alpha 32: PEFT's and the QLoRA paper's usual alpha = 2 r; all-linear: QLoRA, section 4.
    r: int = param(16, "Rank", "Size of the adapter.", group="Adapter", min=1, max=4096)
    alpha: int | float = param(
        32, "Alpha", "The adapter's output is scaled by alpha / rank.", group="Adapter", min=0.001, max=65536
    )
    dropout: float = param(
        0.0, "Dropout", "Share of adapter inputs dropped while training.", group="Adapter", min=0.0, max=0.9
    )
    targets: str | list[str] = param("all-linear", "Layers", "all-linear, or the names of layers.", group="Adapter")  # noqa: RUF009
    # 4: Dettmers et al. (2023), NF4 with double quantisation.
    bits: int = param(4, "Bits", "Of a frozen weight, 4 or 8 (QLoRA).", group="Adapter", min=4, max=8)
    # Two thirds of the first rank, as Zhang et al. (2023) begin with 1.5 times the last; whole: 12 to 8 in PEFT.
    target_r: int | None = param(
        None,
        "Final rank",
        "Mean rank that AdaLoRA keeps; empty: two thirds of the rank.",
        group="Adapter",
        min=1,
        max=4095,
    )
    # 20: Lester et al. (2021), figure 3a: more brings little.
    virtual_tokens: int = param(
        20, "Trained positions", "In front of every row (prefix, prompt, P-tuning).", group="Adapter", min=1, max=4096
    )
    # 64: Houlsby et al. (2019), section 3.2 and table 1.
    bottleneck: int = param(64, "Bottleneck", "Width between the two small layers.", group="Adapter", min=1, max=65536)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            known = field.name == "method" or field.name in compatibility.FIELDS[self.method]
            if not known and getattr(self, field.name) != field.default:
                raise RunFileError(f"adapter.{field.name}", f"has no meaning for {self.method}; leave it out")
        if self.bits not in (4, 8):
            raise RunFileError("adapter.bits", f"must be 4 or 8, got {self.bits}")
        if self.method == "adalora" and self.r < 2:
            raise RunFileError("adapter.r", "must be at least 2 for adalora, which has ranks to take away")
        if self.target_r is not None and self.target_r >= self.r:
            raise RunFileError("adapter.target_r", f"must be below adapter.r {self.r}, got {self.target_r}")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    device: str = param(
        "auto", "Device", "auto takes a GPU when there is one.", group="Hardware", choices=("auto", "cpu", "cuda")
    )
    threads: int = param(0, "Threads", "0: as many as there are cores.", group="Hardware", min=0, max=1024)
    dtype: str = param(
        "auto",
        "Number format",
        "auto: bfloat16 on a GPU that has it, else float32.",
        group="Hardware",
        choices=("auto", "float32", "bfloat16"),
    )


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A checked run file: every path absolute, every setting present."""

    kind: str
    name: str
    seed: int
    base_model: ModelRef | None
    start_adapter: ModelRef | None
    adapter: Adapter | None
    reference: str | None
    reward_model: ModelRef | None
    snapshot: SnapshotRef | None
    prompts: str | None
    template: str | None
    params: Any
    hardware: Hardware
    raw: dict[str, Any] = dataclasses.field(repr=False, compare=False)
