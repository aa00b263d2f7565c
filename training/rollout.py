"""Sampling answers from a causal model, many rows at a time, for PPO and for everything that shows answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from training.data import pad
from training.stepping import Steps, steps_of

# Rows that have ended still cost a row of compute: when this share has, the batch is made smaller.
COMPACT_AT = 0.25


@dataclass(frozen=True)
class Rollout:
    """Answers to N prompts (times K samples each, the K of one prompt side by side)."""

    prompts: list[list[int]]  # N * K rows
    tokens: Tensor  # (N * K, T) token ids, EOS included where there is one; whatever past the end
    logps: Tensor  # (N * K, T) log-probability of each token under softmax(logits / temperature); 0 past the end
    lengths: Tensor  # (N * K,) real tokens, at least 1
    ended: Tensor  # (N * K,) bool: stopped by itself with EOS, rather than cut at the limit

    @property
    def mask(self) -> Tensor:
        """(N * K, T), true on real tokens."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths[:, None]

    def answer(self, row: int) -> list[int]:
        """The token ids of one answer, without the EOS that ends it."""
        length = int(self.lengths[row]) - int(self.ended[row])
        return self.tokens[row, :length].tolist()

    def answers(self) -> list[list[int]]:
        """The token ids of every answer, EOS included where there is one."""
        return [ids[:length] for ids, length in zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)]

    def finish(self, row: int) -> str:
        return "eos" if self.ended[row] else "length"


class ReservedLayer(DynamicLayer):
    """Keys and values of one layer in a buffer reserved ahead, so that a new token does not copy the old ones."""

    reserve = 64  # tokens added to the buffer whenever it is full

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append along the sequence; returns views on all keys and all values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.key_buffer = self.value_buffer = key_states[:, :, :0]
            self.used = 0
        start, self.used = self.used, self.used + key_states.shape[-2]
        if self.used > self.key_buffer.shape[-2]:
            room = self.used + self.reserve - start
            self.key_buffer = F.pad(self.key_buffer[:, :, :start], (0, 0, 0, room))
            self.value_buffer = F.pad(self.value_buffer[:, :, :start], (0, 0, 0, room))
        self.key_buffer[:, :, start : self.used] = key_states
        self.value_buffer[:, :, start : self.used] = value_states
        self.keys = self.key_buffer[:, :, : self.used]
        self.values = self.value_buffer[:, :, : self.used]
        return self.keys, self.values

    def select(self, rows: Tensor) -> None:
        """Keep `rows` of the batch, in that order; a row may be asked for more than once."""
        self.key_buffer, self.value_buffer = self.key_buffer[rows], self.value_buffer[rows]
        self.keys = self.key_buffer[:, :, : self.used]
        self.values = self.value_buffer[:, :, : self.used]


def make_cache(model: Any) -> Cache:
    """An empty cache; the reserved one only where every layer attends to everything."""
    cache = DynamicCache(config=model.config)
    if all(type(layer) is DynamicLayer for layer in cache.layers):
        return Cache(layer_class_to_replicate=ReservedLayer)
    return cache


def keep_rows(cache: Cache, rows: Tensor) -> None:
    layers: Sequence[Any] = cache.layers
    for layer in layers:
        if isinstance(layer, ReservedLayer):
            layer.select(rows)
        else:
            layer.batch_select_indices(rows)


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends an answer: the tokenizer's EOS and those the model was published with."""
    published = getattr(model.generation_config, "eos_token_id", None)
    ids = published if isinstance(published, list) else [published]
    return sorted({i for i in [tokenizer.eos_token_id, *ids] if i is not None})


def positions(mask: Tensor) -> Tensor:
    """(N, L) positions counted from each row's first real token; padding gets 0."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """`logits` (N, V) without the tail beyond probability `top_p`: Holtzman et al. (2020), section 3.1."""
    if top_p >= 1:
        return logits
    ordered, index = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    return logits.scatter(-1, index, ordered.masked_fill(before >= top_p, float("-inf")))


def draw(
    logits: Tensor, *, temperature: float, top_p: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """One token per row of (N, V) logits, and its log-probability under softmax(logits / temperature).

    Temperature 0 takes the likeliest token and reports its log-probability at temperature 1.
    """
    if temperature == 0:
        token = logits.argmax(dim=-1)
        return token, logits.gather(-1, token[:, None])[:, 0] - logits.logsumexp(dim=-1)
    if temperature != 1:
        logits = logits / temperature
    highest = logits.amax(dim=-1, keepdim=True)
    below = (keep_top_p(logits, top_p) - highest).exp_().cumsum(dim=-1)
    # Inverse transform sampling: one random number a row, where multinomial draws one a token of the vocabulary. It is
    # above zero and at most the whole, so that no token without weight is found.
    point = (1 - torch.rand(len(logits), 1, generator=generator, device=logits.device)) * below[:, -1:]
    token = torch.searchsorted(below, point).clamp(max=logits.shape[-1] - 1)  # past the end where there are NaNs
    whole = below[:, -1:] if top_p >= 1 else (logits - highest).exp_().sum(dim=-1, keepdim=True)
    return token[:, 0], (logits.gather(-1, token) - highest - whole.log())[:, 0]


@torch.no_grad()  # not inference_mode: PPO saves the log-probabilities for a backward pass
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop: Sequence[int],
    pad_id: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Rollout:
    """`samples` answers to each prompt; a prompt is computed once, whatever their number.

    Prompts are padded on the left and positions are counted from the mask, so that an answer does not
    depend on what else is in the batch. Rows that ended leave the batch.
    """
    device = next(model.parameters()).device
    ids, mask = (t.to(device) for t in pad(prompts, pad_id, left=True))
    cache = make_cache(model)
    logits = _next_logits(model, ids, mask, positions(mask), cache)
    if samples > 1:
        rows = torch.arange(len(prompts), device=device).repeat_interleave(samples)
        keep_rows(cache, rows)
        logits, mask = logits[rows], mask[rows]
    steps = steps_onward(model, cache, mask, max_new_tokens)
    total = len(prompts) * samples
    tokens = torch.full((total, max_new_tokens), pad_id, device=device)
    logps = torch.zeros(total, max_new_tokens, device=device)
    lengths = torch.full((total,), max_new_tokens, device=device)
    ended = torch.zeros(total, dtype=torch.bool, device=device)
    endings = torch.tensor(list(stop), device=device)

    rows = torch.arange(total, device=device)  # which answer each row of the running batch is
    for step in range(max_new_tokens):
        token, logp = draw(logits, temperature=temperature, top_p=top_p, generator=generator)
        running = ~ended[rows]
        at = rows[running]
        tokens[at, step] = token[running]
        logps[at, step] = logp[running]
        over = rows[running & torch.isin(token, endings)]
        ended[over] = True
        lengths[over] = step + 1
        running = ~ended[rows]
        alive = int(running.sum())
        if alive == 0 or step + 1 == max_new_tokens:
            break
        if alive <= (1 - COMPACT_AT) * len(rows):
            kept = running.nonzero()[:, 0]
            keep_rows(cache, kept)
            steps.keep(kept)
            rows, token = rows[kept], token[kept]
        logits = steps.logits(token)

    longest = int(lengths.max())
    repeated = [list(p) for p in prompts for _ in range(samples)]
    return Rollout(repeated, tokens[:, :longest].clone(), logps[:, :longest].clone(), lengths, ended)


class PlainSteps:
    """The same as `stepping.Steps`, as transformers itself computes it."""

    def __init__(self, model: Any, cache: Cache, mask: Tensor) -> None:
        self.model, self.cache, self.mask = model, cache, mask

    def logits(self, tokens: Tensor) -> Tensor:
        self.mask = F.pad(self.mask, (0, 1), value=1)
        return _next_logits(self.model, tokens[:, None], self.mask, self.mask.sum(dim=-1, keepdim=True) - 1, self.cache)

    def keep(self, rows: Tensor) -> None:
        self.mask = self.mask[rows]


def steps_onward(model: Any, cache: Cache, mask: Tensor, most: int) -> Steps | PlainSteps:
    """What gives the logits of at most that many more tokens, in the quickest way that is exact for this model."""
    reserved = all(type(layer) is ReservedLayer for layer in cache.layers)
    return (steps_of(model, cache, mask, most) if reserved else None) or PlainSteps(model, cache, mask)


def _next_logits(model: Any, ids: Tensor, mask: Tensor, position_ids: Tensor, cache: Cache) -> Tensor:
    out = model(
        input_ids=ids,
        attention_mask=_ready_mask(model, mask, cache) if ids.shape[1] == 1 else mask,
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return out.logits[:, -1].float()


def _ready_mask(model: Any, mask: Tensor, cache: Cache) -> Tensor:
    """The mask of one new token as attention itself takes it, which spares transformers to work it out each time."""
    plain = model.config.get_text_config()._attn_implementation == "sdpa" and type(cache.layers[0]) is ReservedLayer
    if not plain:
        return mask
    hidden = torch.finfo(model.dtype).min
    return torch.zeros(mask.shape, dtype=model.dtype, device=mask.device).masked_fill_(mask == 0, hidden)[:, None, None]
