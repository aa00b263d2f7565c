"""Muon: matrices move by the orthogonal part of their momentum, so that all of its directions count alike.

Jordan et al. (2024), "Muon: An optimizer for hidden layers in neural networks", with the size of a step and the weight
decay of Liu et al. (2025), "Muon is scalable for LLM training", by which a rate that suits AdamW suits it as well.
torch has one that computes in bfloat16, which processors without such instructions do many times slower, and takes one
matrix after another; here those of one shape go together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the iteration: Jordan et al.
SIZE = 0.2  # root mean square of AdamW's updates: Liu et al.
TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """For the (N, M) weights inside a network; embeddings, heads and vectors are left to another optimizer."""

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        turns: int = 5,
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "turns": turns})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                alike[weight.shape].append(weight)
            for shape, weights in alike.items():
                ahead = torch.stack([self._ahead(weight, group["momentum"]) for weight in weights])
                rate = group["lr"] * SIZE * max(shape) ** 0.5
                for weight, update in zip(weights, orthogonal(ahead, group["turns"]), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=rate)

    def _ahead(self, weight: nn.Parameter, momentum: float) -> Tensor:
        """The running mean of the gradients, one step ahead (Nesterov)."""
        assert weight.grad is not None
        mean = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
        mean.lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum)


def orthogonal(matrices: Tensor, turns: int) -> Tensor:
    """(B, N, M) with the singular values of each matrix brought near one: a Newton-Schulz iteration, steep at zero."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT.contiguous() if tall else matrices
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=TINY)
    for _ in range(turns):
        square = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(square, square, square, beta=b, alpha=c), found, beta=a)
    return found.mT if tall else found
