"""The losses of reward models: pure functions of the scores of answers and of what people said about them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def preference_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor, weight: Tensor, label_smoothing: float | Tensor, center: float
) -> Tensor:
    """The Bradley-Terry loss of B pairs as one number; all inputs are (B,).

    -(1 - e) log s(d - m) - e log s(-d - m) with d = chosen - rejected: Ouyang et al. (2022) equation 1, the margin m
    from Touvron et al. (2023) equation 2, e = `label_smoothing`, of all pairs or (B,) of each: with e the share of the
    judges who saw it the other way round, and who ask for the same lead, the labels are soft (Wang et al. 2024, Secrets
    of RLHF II), and e = 1/2 is a tie, which pulls two scores together; averaged by `weight`. Added is `center` times
    the mean of (chosen + rejected)^2, which fixes the free constant: Eisenstein et al. (2023) equation 2.
    """
    lead = chosen - rejected
    losses = -(1 - label_smoothing) * F.logsigmoid(lead - margin) - label_smoothing * F.logsigmoid(-lead - margin)
    return (losses * weight).sum() / weight.sum() + center * ((chosen + rejected) ** 2).mean()


def all_pairs_loss(scores: Tensor, ranks: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """The loss of one ranking of K answers as one number; both inputs are (K,), the best rank is the lowest.

    The mean of the Bradley-Terry loss over all pairs that are not tied, K (K - 1) / 2 without ties: Ouyang et al.
    (2022) equation 1, a prompt with its K answers being one element of the batch (section 3.5).
    """
    better = ranks[:, None] < ranks[None, :]
    lead = (scores[:, None] - scores[None, :])[better]
    return (-(1 - label_smoothing) * F.logsigmoid(lead) - label_smoothing * F.logsigmoid(-lead)).mean()


def plackett_luce_loss(scores: Tensor, ranks: Tensor) -> Tensor:
    """The loss of one ranking of K answers as one number; both inputs are (K,), the best rank is the lowest.

    -1/(K - 1) sum_i log(exp s_i / sum over j not ranked above i of exp s_j): the likelihood of Plackett (1975) and
    Luce (1959), by choices, as the K-wise maximum likelihood of Zhu et al. (2023). Answers that tie compete with
    one another in each of their terms (Breslow 1974), which pulls their scores together.
    """
    rivals = ranks[None, :] >= ranks[:, None]
    total = torch.where(rivals, scores[None, :], float("-inf")).logsumexp(dim=1)
    return (total - scores).sum() / (len(scores) - 1)


def rating_losses(outputs: Tensor, targets: Tensor, *, kind: str) -> Tensor:
    """(N, A) losses of N rated answers; where a target is NaN, nobody rated that aspect, and the loss is zero.

    mse  (z - t)^2, one output per aspect: as ArmoRM (Wang et al. 2024) and HelpSteer2 (Wang et al. 2024).
    bce  -t log s(z) - (1 - t) log s(-z) with t between 0 and 1: the rating as a share of its scale.
    """
    rated = ~targets.isnan()
    aim = torch.where(rated, targets, 0.0)
    if kind == "mse":
        losses = (outputs - aim) ** 2
    else:
        losses = F.binary_cross_entropy_with_logits(outputs, aim, reduction="none")
    return losses * rated
