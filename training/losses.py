"""The losses of the preference methods: pure functions of tensors, nothing else."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.params import REFERENCE_FREE


def dpo_margins(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """How far the policy, more than the reference, leans to the chosen answer.

    Both inputs are (2B,): B chosen answers, then the B rejected ones, each the summed log-probability
    of its tokens. Returns (B,), in nats: h = log(pi/ref)(chosen) - log(pi/ref)(rejected), the term
    inside equation 7 of Rafailov et al. (2023) before beta.
    """
    chosen, rejected = (logps - ref_logps).chunk(2)
    return chosen - rejected


PER_TOKEN = ("ipo", "sigmoid_norm", "simpo", "orpo")  # these average an answer's log-probabilities over its tokens


def dpo_loss(
    logps: Tensor,
    ref_logps: Tensor,
    *,
    beta: float,
    kind: str = "sigmoid",
    label_smoothing: float = 0.0,
    lengths: Tensor | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """The (B,) losses of B pairs under one of nine direct-alignment losses.

    `logps`, `ref_logps`: (2B,), chosen then rejected; `lengths`: (2B,) tokens, for the losses that average over them.
    With u = log(pi/ref) of an answer, h = u(chosen) - u(rejected), e = `label_smoothing`:
    sigmoid       -(1-e) log s(beta h) - e log s(-beta h): Rafailov et al. (2023) equation 7; e > 0 is the conservative
                  form, Mitchell (2023), A note on DPO with noisy preferences.
    ipo           (h - 1/(2 beta))^2, h over log-probabilities averaged per token: Azar et al. (2023) equation 17,
                  averaged as its authors found necessary.
    hinge         max(0, 1 - beta h): SLiC-HF (Zhao et al. 2023, section 2) on DPO's margin.
    robust        (-(1-e) log s(beta h) + e log s(-beta h)) / (1 - 2e): Chowdhury et al. (2024) section 3.1,
                  unbiased when a share e < 1/2 of the labels is flipped.
    sigmoid_norm  sigmoid with u averaged per token: Lambert et al. (2024), Tulu 3.
    simpo         -(1-e) log s(d) - e log s(-d), d = beta (mean logp(chosen) - mean logp(rejected)) - gamma:
                  Meng et al. (2024) equation 6; no reference.
    orpo          NLL(chosen) - beta log s(log odds(chosen) - log odds(rejected)), all per token, odds p = P / (1 - P):
                  Hong et al. (2024) equations 6 and 7, their lambda is beta; no reference.
    apo_zero      (1 - s(beta u(chosen))) + s(beta u(rejected)): D'Oosterlinck et al. (2024) equation 7, for chosen
                  answers better than the model's own.
    apo_down      s(beta u(chosen)) + (1 - s(beta h)): the same, equation 8, for chosen answers worse than its own.
    """
    if kind in PER_TOKEN:
        if lengths is None:
            raise ValueError(f"the {kind} loss averages over tokens and needs the lengths of the answers")
        logps, ref_logps = logps / lengths, ref_logps / lengths
    if kind == "orpo":
        return _orpo_loss(logps, beta)
    if kind == "ipo":
        return (dpo_margins(logps, ref_logps) - 1 / (2 * beta)) ** 2
    if kind in ("apo_zero", "apo_down"):
        chosen, rejected = (beta * (logps - ref_logps)).chunk(2)
        if kind == "apo_zero":
            return (1 - chosen.sigmoid()) + rejected.sigmoid()
        return chosen.sigmoid() + (1 - (chosen - rejected).sigmoid())
    if kind == "simpo":
        chosen, rejected = logps.chunk(2)
        margins = beta * (chosen - rejected) - gamma
    else:
        margins = beta * dpo_margins(logps, ref_logps)
    if kind == "hinge":
        return F.relu(1 - margins)
    right, wrong = -F.logsigmoid(margins), -F.logsigmoid(-margins)
    if kind in ("sigmoid", "sigmoid_norm", "simpo"):
        return (1 - label_smoothing) * right + label_smoothing * wrong
    if kind == "robust":
        return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)
    raise ValueError(f"unknown loss {kind!r}: expected one of those that dpo_loss describes")


def _orpo_loss(mean_logps: Tensor, beta: float) -> Tensor:
    """(B,) of (2B,) mean log-probabilities per token."""
    # log(1 - P) by expm1, exact where P is small and finite where it is one to the last digit.
    log_rest = torch.log(-torch.expm1(mean_logps.clamp(max=-1e-6)))
    chosen, rejected = (mean_logps - log_rest).chunk(2)
    return -mean_logps.chunk(2)[0] - beta * F.logsigmoid(chosen - rejected)


def implied_rewards(logps: Tensor, ref_logps: Tensor, *, beta: float, kind: str, lengths: Tensor) -> Tensor:
    """(2B,) what a loss takes the answers to be worth: beta log(pi/ref), Rafailov et al. (2023) section 4.

    Per token for the losses that average, except ipo, whose rewards are told as DPO's.
    """
    rewards = beta * (logps if kind in REFERENCE_FREE else logps - ref_logps)
    return rewards / lengths if kind in PER_TOKEN and kind != "ipo" else rewards


def kto_loss(
    logps: Tensor,
    ref_logps: Tensor,
    labels: Tensor,
    kl: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """The (B,) losses of B judged answers: Ethayarajh et al. (2024) equation 7, less the constant lambda_y.

    `labels` (B,) true where people wanted the answer; with u = log(pi/ref) and `kl` the reference point z0 (a scalar,
    no gradient): weight * (1 - s(beta (u - z0))) for wanted answers, weight * (1 - s(beta (z0 - u))) for the others.
    """
    lead = beta * (logps - ref_logps - kl)
    wanted = desirable_weight * (1 - lead.sigmoid())
    unwanted = undesirable_weight * (1 - (-lead).sigmoid())
    return torch.where(labels, wanted, unwanted)


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


def clip_fraction(ratio: Tensor, mask: Tensor, *, clip: float, clip_high: float | None = None) -> Tensor:
    """The share of real tokens whose ratio left [1 - clip, 1 + clip_high], the latter being `clip` by default."""
    return masked_mean(((ratio < 1 - clip) | (ratio > 1 + (clip_high or clip))).float(), mask)


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
