"""Log-probabilities of answers: the prompt of a pair computed once, and only answer positions in the LM head.

A pair is one row `prompt | chosen | rejected` under a tree mask: both answers see the prompt, neither sees the
other, and the positions of the rejected one start again where the prompt ended. Rows are padded on the right,
where causal attention never looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from training.runfile import RunFileError

LOGITS_AT_ONCE = 2**26  # elements of one (tokens, vocabulary) block: 256 MiB in float32
Pair = tuple[list[int], list[int], list[int]]  # prompt, chosen, rejected
Answered = tuple[list[int], list[int]]  # prompt, answer


@dataclass(frozen=True)
class Batch:
    """A answers laid out in B rows of L tokens, M answer tokens in all."""

    ids: Tensor  # (B, L)
    positions: Tensor | None  # (B, L), None where they simply count
    mask: Tensor | None  # (B, 1, L, L) additive, None where attention is simply causal
    sources: Tensor  # (M,) index into the B * L hidden states of the one that predicts each answer token
    targets: Tensor  # (M,) the answer tokens
    rows: Tensor  # (M,) which answer a token belongs to
    columns: Tensor  # (M,) its place in that answer
    lengths: Tensor  # (A,) tokens of each answer

    def per_answer(self, values: Tensor) -> Tensor:
        """(M,) values of tokens as (A, T), answers padded with zeros."""
        grid = values.new_zeros(len(self.lengths), int(self.lengths.max()))
        return grid.index_put((self.rows, self.columns), values)

    def last_tokens(self) -> Tensor:
        """(A,) index into the B * L hidden states of the last token of each answer (plain rows only)."""
        # The last token sits one after the state that predicts it.
        return self.sources[self.lengths.cumsum(0) - 1] + 1


def pack_pairs(pairs: Sequence[Pair], pad_id: int, device: torch.device) -> Batch:
    """A tree row per pair; the A = 2B answers are the B chosen ones, then the B rejected ones."""
    width = max(len(p) + len(c) + len(r) for p, c, r in pairs)
    ids = torch.full((len(pairs), width), pad_id)
    positions = torch.arange(width).repeat(len(pairs), 1)
    seen = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(pairs), 1, 1)
    chosen_spans, rejected_spans = [], []
    for row, (prompt, chosen, rejected) in enumerate(pairs):
        split, second = len(prompt), len(prompt) + len(chosen)
        end = second + len(rejected)
        ids[row, :end] = torch.tensor(prompt + chosen + rejected)
        positions[row, second:] -= len(chosen)
        seen[row, second:, split:second] = False
        start = row * width
        before = start + split - 1  # both answers are predicted from the end of the prompt
        chosen_spans.append([before, *range(start + split, start + second - 1)])
        rejected_spans.append([before, *range(start + second, start + end - 1)])
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]
    answers = [c for _, c, _ in pairs] + [r for _, _, r in pairs]
    return _batch(ids, positions, mask, chosen_spans + rejected_spans, answers, device)


def pack_answers(answered: Sequence[Answered], pad_id: int, device: torch.device) -> Batch:
    """A plain row per answer."""
    width = max(len(p) + len(a) for p, a in answered)
    ids = torch.full((len(answered), width), pad_id)
    spans = []
    for row, (prompt, answer) in enumerate(answered):
        ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        first = row * width + len(prompt) - 1
        spans.append(range(first, first + len(answer)))
    return _batch(ids, None, None, spans, [a for _, a in answered], device)


def pack_apart(pairs: Sequence[Pair], pad_id: int, device: torch.device) -> Batch:
    """Two plain rows per pair, in the order of `pack_pairs`: for models that cannot take a tree."""
    return pack_answers([(p, c) for p, c, _ in pairs] + [(p, r) for p, _, r in pairs], pad_id, device)


def _batch(
    ids: Tensor,
    positions: Tensor | None,
    mask: Tensor | None,
    spans: Sequence[Sequence[int]],
    answers: Sequence[list[int]],
    device: torch.device,
) -> Batch:
    lengths = torch.tensor([len(a) for a in answers])
    return Batch(
        ids=ids.to(device),
        positions=None if positions is None else positions.to(device),
        mask=None if mask is None else mask.to(device),
        sources=torch.tensor([i for span in spans for i in span], device=device),
        targets=torch.tensor([t for answer in answers for t in answer], device=device),
        rows=torch.arange(len(answers)).repeat_interleave(lengths).to(device),
        columns=torch.tensor([i for answer in answers for i in range(len(answer))], device=device),
        lengths=lengths.to(device),
    )


def hidden_states(model: Any, batch: Batch) -> Tensor:
    """(B * L, D) last hidden states of the decoder, before the head."""
    decoder = model.base_model
    mask = None if batch.mask is None else batch.mask.to(decoder.dtype).clamp(min=torch.finfo(decoder.dtype).min)
    out = decoder(input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False)
    return out.last_hidden_state.flatten(0, 1)


def head_logits(model: Any, hidden: Tensor) -> Tensor:
    """(M, V) float32 logits of (M, D) hidden states, with the scaling that some families add after the head."""
    logits = model.get_output_embeddings()(hidden).float()
    if scale := getattr(model, "logit_scale", None):  # Cohere
        logits = logits * scale
    if scale := getattr(model.config, "logits_scaling", None):  # Granite
        logits = logits / scale
    if cap := getattr(model.config, "final_logit_softcapping", None):  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits


def token_logps(
    model: Any, batch: Batch, *, temperature: float = 1.0, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probability of every answer token and entropy at it, both (M,), under softmax(logits / temperature).

    The head works on `block` tokens at a time and, when gradients are kept, computes its logits again in the
    backward pass, so that no (M, V) matrix of a large vocabulary is ever held. The entropy has no gradient.
    """
    hidden = hidden_states(model, batch)[batch.sources]
    block = block or block_of(model)
    if len(hidden) <= block:
        return _block_logps(model, hidden, batch.targets, temperature)
    pieces = []
    for states, targets in zip(hidden.split(block), batch.targets.split(block), strict=True):
        if torch.is_grad_enabled():
            pieces.append(checkpoint(_block_logps, model, states, targets, temperature, use_reentrant=False))
        else:
            pieces.append(_block_logps(model, states, targets, temperature))
    return torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces])


def block_of(model: Any) -> int:
    """How many tokens the LM head may work on at a time."""
    return max(1, LOGITS_AT_ONCE // model.config.get_text_config().vocab_size)


def _block_logps(model: Any, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    log_p = (head_logits(model, hidden) / temperature).log_softmax(dim=-1)
    chosen = log_p.gather(-1, targets[:, None])[:, 0]
    with torch.no_grad():
        entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return chosen, entropy


def answer_logps(model: Any, batch: Batch) -> Tensor:
    """(A,) log-probability of each whole answer."""
    logps, _ = token_logps(model, batch)
    return logps.new_zeros(len(batch.lengths)).index_add(0, batch.rows, logps)


@torch.no_grad()
def check_head(model: Any, ids: Sequence[int]) -> None:
    """Refuse an architecture whose logits are not what `head_logits` makes of its hidden states."""
    row = torch.tensor([list(ids)], device=model.device)
    ours = head_logits(model, model.base_model(input_ids=row, use_cache=False).last_hidden_state[0])
    theirs = model(input_ids=row, use_cache=False).logits[0].float()
    if not torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3):
        raise RunFileError("base_model.path", f"holds a {type(model).__name__}, whose LM head Hone cannot take apart")


@torch.no_grad()
def takes_trees(model: Any, pair: Pair, pad_id: int) -> bool:
    """Whether the model gives a tree row the log-probabilities of two plain rows, tried on one pair."""
    if getattr(model.config.get_text_config(), "sliding_window", None):
        return False  # right on a short pair and wrong on one longer than the window
    try:
        tree = answer_logps(model, pack_pairs([pair], pad_id, model.device))
    except (TypeError, ValueError, RuntimeError):
        return False
    apart = answer_logps(model, pack_apart([pair], pad_id, model.device))
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.05
    return torch.allclose(tree, apart, rtol=tolerance, atol=tolerance)
