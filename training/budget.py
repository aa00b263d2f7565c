"""AdaLoRA's rank budget: cut while training as Zhang et al. (2023) describe, and kept across a resume.

PEFT only moves the budget when somebody calls `update_and_allocate` after each backward pass, and only adds the
orthogonality term when its own wrapper computes the loss. Here both hang on the optimizer: before a step the gradient
of that term is added, after it the importance of every rank is updated and the least important ones are masked; what
the allocator remembers travels in the optimizer's state.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.adalora import AdaLoraModel
from torch import Tensor, nn
from torch.optim import Optimizer

from training.rundir import RunDir

KEY = "rank_budget"
MEMORY = ("ipt", "exp_avg_ipt", "exp_avg_unc")
FEWEST_STEPS = 10  # below, there is nothing to rank the ranks by
# Warm-up of a tenth and a last third at the final ranks, near what Zhang et al. (2023) chose for their tasks.
INITIAL, FINAL = 0.1, 0.3


class RankBudget:
    """The allocator of one AdaLoRA adapter, driven by the steps of an optimizer."""

    def __init__(self, model: AdaLoraModel, optimizer: Optimizer, total: int, run: RunDir) -> None:
        self.model, self.run, self.step = model, run, 0
        self.allocator = model.rankallocator
        settings: Any = model.peft_config[model.trainable_adapter_name]
        settings.total_step, settings.deltaT = total, max(1, total // 100)
        settings.tinit, settings.tfinal = int(INITIAL * total), int(FINAL * total)
        self.settings = settings
        optimizer.register_step_pre_hook(lambda *_: self.add_orthogonality())
        optimizer.register_step_post_hook(lambda *_: self.move())
        optimizer.register_state_dict_post_hook(self._remember)
        optimizer.register_load_state_dict_pre_hook(self._recall)

    def matrices(self) -> list[nn.Parameter]:
        """The trained singular vectors, of which each set should stay orthonormal."""
        name = self.allocator.adapter_name
        marks = (f"lora_A.{name}", f"lora_B.{name}")
        return [weight for key, weight in self.model.named_parameters() if key.endswith(marks) and weight.requires_grad]

    def penalty(self) -> Tensor:
        """Mean of ||P P^T - I||_F over all sets, weighted: Zhang et al. (2023) equation 4."""
        found = []
        for weight in self.matrices():
            gram = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
            found.append(torch.linalg.norm(gram - torch.eye(len(gram), device=gram.device)))
        return self.settings.orth_reg_weight * torch.stack(found).mean()

    def add_orthogonality(self) -> None:
        weights = self.matrices()
        with torch.enable_grad():
            gradients = torch.autograd.grad(self.penalty(), weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad + gradient

    def move(self) -> None:
        """Rank what was learnt and mask what the budget of this step no longer pays for."""
        self.step += 1
        self.model.update_and_allocate(self.step)
        self.run.log(self.step, rank=self.mean_rank())

    def mean_rank(self) -> float:
        """Ranks still in use, on average over the adapted layers."""
        pattern = self.settings.rank_pattern
        if not pattern:
            return self.allocator.init_bgt / len(self.allocator.name_set)
        return sum(map(sum, pattern.values())) / len(pattern)

    def _remember(self, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        memory: dict[str, Any] = {name: dict(getattr(self.allocator, name)) for name in MEMORY}
        memory |= {"step": self.step, "pattern": self.settings.rank_pattern}
        return state | {KEY: memory}

    def _recall(self, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        memory = state[KEY]
        for name in MEMORY:
            device = self.matrices()[0].device
            setattr(self.allocator, name, {key: tensor.to(device) for key, tensor in memory[name].items()})
        self.step, self.settings.rank_pattern = memory["step"], memory["pattern"]
        return {key: value for key, value in state.items() if key != KEY}


def follow(model: Any, optimizer: Optimizer, total: int, run: RunDir) -> RankBudget | None:
    """Drive the rank budget of `model` with `optimizer` over `total` steps; nothing for any other adapter."""
    tuner = getattr(model, "base_model", None)
    if not isinstance(tuner, AdaLoraModel):
        return None
    if total < FEWEST_STEPS:
        run.say("warning", f"{total} steps are too few to tell which ranks matter: all of them are kept.")
        return None
    return RankBudget(tuner, optimizer, total, run)
