"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer


def learning_rate(params: Any, step: int, total: int) -> float:
    """The rate of update `step` of `total`, counted from 1: a linear rise, then the chosen decay to zero."""
    warmup = math.ceil(params.warmup_ratio * total)
    if step <= warmup:
        return params.learning_rate * step / warmup
    done = (step - 1 - warmup) / max(1, total - warmup)
    if params.decay == "cosine":
        return params.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if params.decay == "linear":
        return params.learning_rate * (1 - done)
    return params.learning_rate


def set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
