"""The LM head: log-probabilities of given tokens without ever holding the logits of many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.runfile import RunFileError

LOGITS_AT_ONCE = 2**22  # elements of one (tokens, words) block: 16 MiB in float32, about what a cache holds
WORDS_AT_ONCE = 4096


def head_logits(model: Any, hidden: Tensor) -> Tensor:
    """(M, V) float32 logits of (M, D) hidden states, with the scaling that some families add after the head."""
    logits = model.get_output_embeddings()(hidden).float() * logit_scale(model)
    if cap := getattr(model.config, "final_logit_softcapping", None):  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits


def logit_scale(model: Any) -> float:
    """What the logits are multiplied with behind the head: 1 but for Cohere and Granite."""
    return (getattr(model, "logit_scale", None) or 1.0) / (getattr(model.config, "logits_scaling", None) or 1.0)


def logps_of(
    model: Any, hidden: Tensor, targets: Tensor, *, temperature: float = 1.0, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """(M,) log-probabilities of (M,) targets and (M,) entropies under softmax(logits / temperature).

    The head works on `block` tokens at a time and no (M, V) matrix of a large vocabulary is ever held, in the
    backward pass neither. The entropy has no gradient.
    """
    if (weight := plain_weight(model)) is not None and not weight.requires_grad:
        sharpness = logit_scale(model) / temperature
        rows = block or max(1, LOGITS_AT_ONCE // min(WORDS_AT_ONCE, len(weight)))
        found = [
            FrozenHead.apply(*part, weight, sharpness)
            for part in zip(hidden.split(rows), targets.split(rows), strict=True)
        ]
        return torch.cat([logps for logps, _ in found]), torch.cat([entropy for _, entropy in found])
    block = block or block_of(model)
    if len(hidden) <= block:
        return _block_logps(model, hidden, targets, temperature)
    pieces = []
    for states, wanted in zip(hidden.split(block), targets.split(block), strict=True):
        if torch.is_grad_enabled():
            pieces.append(checkpoint(_block_logps, model, states, wanted, temperature, use_reentrant=False))
        else:
            pieces.append(_block_logps(model, states, wanted, temperature))
    return torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces])


def block_of(model: Any) -> int:
    """How many tokens the LM head may work on at a time when it needs all their logits."""
    return max(64, 4 * LOGITS_AT_ONCE // model.config.get_text_config().vocab_size)


def plain_weight(model: Any) -> Tensor | None:
    """The (V, D) matrix of a head that is nothing but a matrix; None where there is more to it."""
    head = model.get_output_embeddings()
    simple = type(head) is nn.Linear and head.bias is None and not head._forward_hooks
    return head.weight if simple and not getattr(model.config, "final_logit_softcapping", None) else None


class FrozenHead(torch.autograd.Function):
    """Log-probabilities under a head that does not learn, which remember their gradient and nothing else.

    With logits s h W', the gradient of log p(t) at h is s (w_t - sum_v p_v w_v): it needs no logit once the mean
    of the words' vectors is known, and that is gathered with their sum, word by word, as Milakov and Gimelshein
    (2018), algorithm 3, gather the sum of a softmax. The same mean gives the entropy: lse - s h . mean.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, weight: Tensor, sharpness: float) -> tuple[Tensor, Tensor]:
        scaled = hidden * sharpness
        highest = hidden.new_full((len(hidden),), -math.inf, dtype=torch.float32)
        total = torch.zeros_like(highest)
        mean = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
        for words in weight.split(WORDS_AT_ONCE):
            logits = (scaled @ words.T).float()
            above = torch.maximum(highest, logits.amax(dim=-1))
            shares = logits.sub_(above[:, None]).exp_()
            before = (highest - above).exp_()
            total.mul_(before).add_(shares.sum(dim=-1))
            mean.mul_(before[:, None])
            if words.dtype == torch.float32:
                mean.addmm_(shares, words)
            else:
                mean.add_(shares.to(words.dtype) @ words)
            highest = above
        mean /= total[:, None]
        lse = highest + total.log()
        own = weight[targets].float()
        scaled = scaled.float()
        logps = torch.linalg.vecdot(scaled, own) - lse
        entropy = lse - torch.linalg.vecdot(scaled, mean)
        ctx.save_for_backward(own.sub_(mean).mul_(sharpness).to(hidden.dtype))
        ctx.mark_non_differentiable(entropy)
        return logps, entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return grads[0][:, None].to(slope.dtype) * slope, None, None, None


def _block_logps(model: Any, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    log_p = (head_logits(model, hidden) / temperature).log_softmax(dim=-1)
    chosen = log_p.gather(-1, targets[:, None])[:, 0]
    with torch.no_grad():
        entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return chosen, entropy


@torch.no_grad()
def target_logps(model: Any, hidden: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """(M,) log-probabilities of the targets alone: half the work where neither gradient nor entropy is wanted."""
    weight = plain_weight(model)
    if weight is None:
        return logps_of(model, hidden, targets, temperature=temperature)[0]
    found = []
    for states, wanted in zip(hidden.split(1024), targets.split(1024), strict=True):
        scaled = states * (logit_scale(model) / temperature)
        sums = [(scaled @ words.T).float().logsumexp(dim=-1) for words in weight.split(WORDS_AT_ONCE)]
        own = torch.linalg.vecdot(scaled.float(), weight[wanted].float())
        found.append(own - torch.stack(sums, dim=-1).logsumexp(dim=-1))
    return torch.cat(found)


@torch.no_grad()
def check_head(model: Any, ids: Sequence[int]) -> None:
    """Refuse an architecture whose logits are not what `head_logits` makes of its hidden states."""
    row = torch.tensor([list(ids)], device=model.device)
    ours = head_logits(model, model.base_model(input_ids=row, use_cache=False).last_hidden_state[0])
    theirs = model(input_ids=row, use_cache=False).logits[0].float()
    if not torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3):
        raise RunFileError("base_model.path", f"holds a {type(model).__name__}, whose LM head Hone cannot take apart")
