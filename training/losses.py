"""The losses of the preference methods: pure functions of tensors, nothing else."""

import torch
import torch.nn.functional as F
from torch import Tensor


def dpo_margins(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """How far the policy, more than the reference, leans to the chosen answer.

    Both inputs are (2B,): B chosen answers, then the B rejected ones, each the summed log-probability
    of its tokens. Returns (B,), in nats: h = log(pi/ref)(chosen) - log(pi/ref)(rejected), the term
    inside equation 7 of Rafailov et al. (2023) before beta.
    """
    chosen, rejected = (logps - ref_logps).chunk(2)
    return chosen - rejected


def dpo_loss(
    logps: Tensor,
    ref_logps: Tensor,
    *,
    beta: float,
    kind: str = "sigmoid",
    label_smoothing: float = 0.0,
    lengths: Tensor | None = None,
) -> Tensor:
    """The (B,) losses of B pairs under one of four direct-alignment losses.

    `logps`, `ref_logps`: (2B,), chosen then rejected. With h from `dpo_margins`:
    sigmoid  -(1-e) log s(beta h) - e log s(-beta h): Rafailov et al. (2023) equation 7; e > 0 is the
             conservative form of Mitchell (2023).
    ipo      (h - 1/(2 beta))^2, h over log-probabilities averaged per token (`lengths`, (2B,)):
             Azar et al. (2023) equation 17, averaged as its authors found necessary.
    hinge    max(0, 1 - beta h): Zhao et al. (2023) SLiC equation 7 on DPO's margin.
    robust   (-(1-e) log s(beta h) + e log s(-beta h)) / (1 - 2e): Chowdhury et al. (2024) equation 9,
             unbiased when a share e < 1/2 of the labels is flipped.
    """
    if kind == "ipo":
        if lengths is None:
            raise ValueError("the ipo loss averages over tokens and needs the lengths of the answers")
        margins = dpo_margins(logps / lengths, ref_logps / lengths)
        return (margins - 1 / (2 * beta)) ** 2
    margins = beta * dpo_margins(logps, ref_logps)
    if kind == "hinge":
        return F.relu(1 - margins)
    right, wrong = -F.logsigmoid(margins), -F.logsigmoid(-margins)
    if kind == "sigmoid":
        return (1 - label_smoothing) * right + label_smoothing * wrong
    if kind == "robust":
        return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)
    raise ValueError(f"unknown loss {kind!r}: expected sigmoid, ipo, hinge or robust")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of `values` where `mask` is true; zero when nothing is."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def policy_loss(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, mask: Tensor, *, clip: float
) -> tuple[Tensor, Tensor]:
    """The clipped surrogate of Schulman et al. (2017) equation 7, negated, over real tokens.

    All inputs are (N, T). Returns the scalar loss and the (N, T) ratios pi/pi_old, detached.
    """
    ratio = torch.exp(logps - old_logps)
    unclipped = ratio * advantages
    clipped = ratio.clamp(1 - clip, 1 + clip) * advantages
    return -masked_mean(torch.minimum(unclipped, clipped), mask), ratio.detach()


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip: float) -> Tensor:
    """Half the squared error, the worse of clipped and unclipped, over real tokens.

    All inputs are (N, T). A value may move `clip` away from its old one before the gain stops
    counting: Schulman et al. (2016) as in the published PPO code, `max` as in Ziegler et al. (2019).
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    worse = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * masked_mean(worse, mask)


def clip_fraction(ratio: Tensor, mask: Tensor, *, clip: float) -> Tensor:
    """The share of real tokens whose ratio left [1 - clip, 1 + clip]."""
    return masked_mean(((ratio - 1).abs() > clip).float(), mask)


def kl_k1(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """log(pi/ref) per token, same shape: unbiased for KL(pi, ref) on samples of pi, can be negative."""
    return logps - ref_logps


def kl_k3(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """(r - 1) - log r with r = ref/pi per token: unbiased and never negative (Schulman 2020)."""
    log_ratio = ref_logps - logps
    return torch.expm1(log_ratio) - log_ratio


def exact_kl(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """KL(pi, ref) in nats over the whole vocabulary: (..., V) and (..., V) give (...)."""
    log_p = F.log_softmax(logits, dim=-1)
    log_q = F.log_softmax(ref_logits, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the next-token distribution: (..., V) gives (...)."""
    log_p = F.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)
