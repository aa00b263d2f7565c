"""Who speaks in a run that answers prompts: the policy, what it drifts from, what scores it, and what looks ahead.

With the adapters of LoRA's family all of them stand on one frozen base. Others share what they can: two adapters of
one family share a base, one of trained positions stands alone, and a policy that trains all its weights has its
reference, its reward model and its value beside it as models of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from training import data, forward
from training.compatibility import VIRTUAL
from training.forward import Answered
from training.policies import POLICY, Scorer, SharedBase, ValueModel
from training.runfile import RunFile

REFERENCE = "reference"


@dataclass(frozen=True)
class Company:
    """Who speaks in a run that answers prompts."""

    base: SharedBase
    reference: str | None
    scorer: Scorer
    tokenizer: Any
    params: Any
    policy: str | None = field(default=POLICY, kw_only=True)  # None: the bare base learns
    apart: SharedBase | None = field(default=None, kw_only=True)  # where the reference stands, when not on `base`

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id

    @property
    def reference_base(self) -> SharedBase:
        return self.apart or self.base

    def pack(self, answered: Sequence[Answered]) -> forward.Batch:
        return forward.pack_answers(answered, self.pad_id, self.base.device)

    def parted(self, answered: Sequence[Answered], rows: Sequence[int]) -> list[list[int]]:
        """`rows` of the answers, longest first, in parts whose backward pass fits into what may be kept for one."""
        lengths = [sum(map(len, each)) for each in answered]
        ordered = sorted(rows, key=lambda row: -lengths[row])
        return data.parts(ordered, lengths, forward.tokens_at_once(self.base.lm))

    def policy_weights(self) -> dict[str, Tensor]:
        """What the policy learns with, by name."""
        return self.base.learning(self.policy)


@dataclass(frozen=True)
class Players(Company):
    """Those of PPO, where a value model speaks as well."""

    value: ValueModel


def speakers(config: RunFile) -> tuple[SharedBase, dict[str, Any]]:
    """(the policy's base, who speaks as policy and as reference, by the names of Company's fields)."""
    start = config.start_adapter.path if config.start_adapter else None
    base = own_base(config)
    if config.adapter is None:
        frozen = own_base(config)  # in the number format of the policy, or the two would differ from the start
        frozen.lm.requires_grad_(False)
        return base, {"policy": None, "reference": None, "apart": frozen}
    base.add(POLICY, config.adapter, start=start)
    if config.reference != "start_adapter" or start is None:
        return base, {"reference": None}
    apart = own_base(config) if config.adapter.method in VIRTUAL else None
    (apart or base).load(REFERENCE, start)
    return base, {"reference": REFERENCE, "apart": apart}


def own_base(config: RunFile) -> SharedBase:
    """The base model once more in memory; it learns when the run trains no adapter."""
    assert config.base_model is not None
    return SharedBase(config.base_model.path, config.hardware, learns=config.adapter is None, adapter=config.adapter)


def value_base(config: RunFile, base: SharedBase) -> SharedBase:
    """Where the value stands: beside the policy, or on a base of its own where that one cannot carry two."""
    alone = config.adapter is None or config.adapter.method in VIRTUAL
    return own_base(config) if alone else base
