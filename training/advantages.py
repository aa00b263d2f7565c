"""What a PPO rollout earns: rewards per token, advantages, and the two numbers that keep them in scale."""

from dataclasses import dataclass

import torch
from torch import Tensor


def token_rewards(kl: Tensor, scores: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """Rewards per token: the price of drifting on every token, the score on the last real one.

    `kl` is (N, T) with log(pi/ref) per token, `scores` (N,), `lengths` (N,) real tokens. Returns (N, T),
    zero past the end: r_t = -beta kl_t + [t = last] score (Ouyang et al. 2022, equation 2).
    """
    steps = torch.arange(kl.shape[1], device=kl.device)
    rewards = torch.where(steps < lengths[:, None], -beta * kl, 0.0)
    rewards[torch.arange(len(scores), device=kl.device), lengths - 1] += scores
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16) for episodes that end.

    All inputs are (N, T), the mask true on real tokens, which come first. Returns the advantages and
    the returns (advantages + values), both zero past the end.
    """
    values = values * mask
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(running)
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = (delta + gamma * lam * running) * mask[:, t]
        advantages[:, t] = running
        following = values[:, t]
    return advantages, (advantages + values) * mask


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """`values` (N, T) with mean 0 and variance 1 over the real tokens, zero elsewhere."""
    real = values[mask]
    if len(real) < 2:
        return values * mask
    scale = torch.rsqrt(real.var(correction=0) + 1e-8)
    return (values - real.mean()) * scale * mask


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over real tokens; 1 is a perfect critic, 0 a constant one."""
    spread = returns[mask].var(correction=0)
    if spread < 1e-12:
        return 0.0
    return float(1 - (returns - values)[mask].var(correction=0) / spread)


@dataclass
class KLController:
    """The price `beta` of one nat; follows `target` when there is one (Ziegler et al. 2019, section 2.2)."""

    beta: float
    target: float | None = None
    horizon: int = 10_000  # answers after which beta may have changed by a fifth

    def update(self, kl: float, answers: int) -> None:
        """Move beta towards the KL per answer that was asked for, after a batch of `answers`."""
        if self.target is not None:
            error = max(-0.2, min(0.2, kl / self.target - 1))
            self.beta *= 1 + error * answers / self.horizon


@dataclass(frozen=True)
class ScoreScale:
    """Raw reward-model scores in units of how they vary on the reference policy's own answers."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, scores: Tensor) -> "ScoreScale":
        """The scale under which `scores` have mean 0 and deviation 1."""
        # A reward model that gives everything one score has nothing to scale by.
        spread = float(scores.std()) if len(scores) > 1 else 0.0
        return cls(mean=float(scores.mean()), std=spread if spread > 1e-6 else 1.0)

    def __call__(self, scores: Tensor) -> Tensor:
        return (scores - self.mean) / self.std
