"""What GRPO and RLOO make of several answers to one prompt: advantages and losses, pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses import kl_k3

EPSILON = 1e-4  # keeps a group whose answers all scored alike from being divided by nothing


def group_advantages(rewards: Tensor, samples: int, *, scale: str) -> Tensor:
    """(N * K,) advantages of K answers side by side for each of N prompts; each group's mean is zero.

    A = r - mean(group), over the deviation of the group (Shao et al. 2024, section 4.1.2), of the whole batch
    ("batch", Liu et al. 2025, Part I), or of nothing ("none", Dr. GRPO, Liu et al. 2025, section 3.2).
    """
    grouped = rewards.view(-1, samples)
    centred = grouped - grouped.mean(dim=1, keepdim=True)
    if scale == "group":
        centred = centred / (grouped.std(dim=1, keepdim=True) + EPSILON)
    elif scale == "batch":
        centred = centred / (rewards.std() + EPSILON)
    return centred.flatten()


def leave_one_out(rewards: Tensor, samples: int) -> Tensor:
    """(N * K,) r_i less the mean of the other K - 1 answers to its prompt: RLOO, Ahmadian et al. (2024)."""
    grouped = rewards.view(-1, samples)
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (samples - 1)
    return (grouped - others).flatten()


def grpo_losses(
    logps: Tensor,
    old_logps: Tensor,
    ref_logps: Tensor,
    advantages: Tensor,
    *,
    clip: float,
    clip_high: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """(N, T) losses of tokens and their ratios pi/pi_old, detached: Shao et al. (2024) equation 3.

    `logps`, `old_logps`, `ref_logps` are (N, T), `advantages` (N,). The price of drifting is the k3 estimate of the
    KL to the reference, equation 4; a larger `clip_high` is DAPO's clip-higher, Yu et al. (2025) equation 10.
    """
    ratio = torch.exp(logps - old_logps)
    weight = advantages[:, None]
    surrogate = torch.minimum(ratio * weight, ratio.clamp(1 - clip, 1 + clip_high) * weight)
    return beta * kl_k3(logps, ref_logps) - surrogate, ratio.detach()


def rloo_losses(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, mask: Tensor, *, clip: float
) -> tuple[Tensor, Tensor]:
    """(N,) losses of whole answers and their (N, 1) ratios: Ahmadian et al. (2024) with PPO's clip.

    An answer is one action; at a ratio of 1 the gradient is that of REINFORCE, A grad log pi(answer).
    """
    ratio = torch.exp(((logps - old_logps) * mask).sum(dim=1))
    loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return loss, ratio.detach()[:, None]


def share_of(losses: Tensor, mask: Tensor, kind: str, *, rows: int, tokens: float, longest: int) -> Tensor:
    """What some rows of (N, T) token losses add to the loss of a minibatch of `rows` answers and `tokens` tokens.

    grpo: the mean over answers of their means over tokens (Shao et al. 2024 equation 3); dapo: the mean over tokens
    (Yu et al. 2025 equation 8); dr_grpo: the sum over a constant, the longest answer (Liu et al. 2025, section 3.2).
    """
    if kind == "grpo":
        return ((losses * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).sum() / rows
    return (losses * mask).sum() / (tokens if kind == "dapo" else rows * longest)
