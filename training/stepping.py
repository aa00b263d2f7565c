"""One token more of every running answer, by layers of the Llama family: the products themselves, in few calls.

A token of a small model is so little work that the way through the modules of transformers counts. Here the weights of
a layer are taken once, whatever adapter speaks, and those that read one state are put side by side. Any other model, or
adapter, takes its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache

from training import layers
from training.fused import Linear
from training.head import plain_weight
from training.lanes import SMALL

HEADED = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")  # nothing but a norm and a matrix behind them
# Rows up to which the vocabulary is better multiplied with them than they with it: for 4 to 32 rows and 32,000 words
# that took 0.5 to 0.8 times the processor time, for the large side is not laid out anew.
FEW = 32
STILL = ("default", "linear", "llama3", "yarn")  # rotations that do not depend on how long a text has become


class Layer:
    """What one layer makes of (B, D) states, with the keys and values of all tokens before."""

    def __init__(self, layer: Any, linears: Sequence[Linear]) -> None:
        query, key, value, out, gate, up, down = linears
        self.width = layer.self_attn.head_dim
        self.keys = len(key.weight) // self.width  # heads
        self.queries = len(query.weight) // self.width
        self.scaling = layer.self_attn.scaling
        self.read, self.fed = (_side_by_side(each) for each in ((query, key, value), (gate, up)))
        self.out, self.down = ((each.merged, each.bias) for each in (out, down))
        self.norms = [
            (norm.weight, norm.variance_epsilon) for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        ]

    def __call__(self, states: Tensor, cos: Tensor, sin: Tensor, hidden: Tensor | None, cached: Any) -> Tensor:
        rows = len(states)
        mixed = F.linear(_normed(states, *self.norms[0]), *self.read).view(rows, -1, self.width)
        turned = mixed[:, : self.queries + self.keys]
        turned = layers.rotate(turned, cos, sin, torch.empty_like(turned))
        query, key = turned.split([self.queries, self.keys], dim=1)
        keys, values = cached.update(key[:, :, None], mixed[:, self.queries + self.keys :, None])
        # The queries that share a head of keys stand side by side, as tokens would.
        query = query.reshape(rows, self.keys, -1, self.width)
        found = F.scaled_dot_product_attention(query, keys, values, attn_mask=hidden, scale=self.scaling)
        states = _added(states, found.reshape(rows, -1), *self.out)
        gate, up = F.linear(_normed(states, *self.norms[1]), *self.fed).chunk(2, dim=1)
        return _added(states, F.silu(gate).mul_(up), *self.down)


class Steps:
    """The logits behind one more token of each row; the cache, which the prompts have filled, grows with it."""

    def __init__(self, model: Any, found: list[Layer], cache: Cache, mask: Tensor, most: int) -> None:
        """`mask` (B, L) says which tokens in the cache are real; at most `most` follow."""
        decoder, total = model.base_model, mask.shape[1] + most
        self.embed, self.norm, self.head = decoder.embed_tokens, decoder.norm, model.get_output_embeddings()
        self.matrix = plain_weight(model)
        self.layers, self.cache, self.used = found, cache, mask.shape[1]
        self.places = mask.sum(dim=1)
        cos, sin = decoder.rotary_emb(self.norm.weight, torch.arange(total, device=mask.device)[None])
        self.cos, self.sin = cos[0], sin[0]
        self.hidden: Tensor | None = None
        if not mask.all():
            self.hidden = self.cos.new_zeros(len(mask), total)
            self.hidden[:, : self.used].masked_fill_(mask == 0, torch.finfo(self.cos.dtype).min)

    def logits(self, tokens: Tensor) -> Tensor:
        """(B, V) in float32, behind (B,) tokens."""
        self.used += 1
        cos, sin = self.cos[self.places], self.sin[self.places]
        hidden = None if self.hidden is None else self.hidden[:, None, None, : self.used]
        states = self.embed(tokens)
        for layer, cached in zip(self.layers, self.cache.layers, strict=True):
            states = layer(states, cos, sin, hidden, cached)
        self.places = self.places + 1
        states = self.norm(states)
        if self.matrix is None or len(states) > FEW:
            return self.head(states).float()
        return (self.matrix @ states.T).T.contiguous()

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone; those of the cache are its owner's to pick."""
        self.places = self.places[rows]
        self.hidden = None if self.hidden is None else self.hidden[rows]


def steps_of(model: Any, cache: Cache, mask: Tensor, most: int) -> Steps | None:
    """Steps that give what `model` itself gives as it is now; None where there is more to it than they know."""
    decoder = model.base_model
    if type(model).__name__ not in HEADED or "forward" in vars(decoder):
        return None  # trained positions stand at the decoder's door
    if decoder.rotary_emb.rope_type not in STILL or model.config.hidden_act != "silu":
        return None
    if sum(weight.numel() for weight in model.parameters()) > SMALL:
        return None  # finding the way is nothing there, and a second copy of the weights is much
    blocks = list(decoder.layers)
    linears = [layers.linears_of(each, each.input_layernorm.weight, frozen=False) for each in blocks]
    if any(each is None for each in linears):
        return None
    found = [Layer(block, each) for block, each in zip(blocks, linears, strict=True) if each is not None]
    return Steps(model, found, cache, mask, most)


def _side_by_side(linears: Sequence[Linear]) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([linear.merged for linear in linears])
    if all(linear.bias is None for linear in linears):
        return weight, None
    zero = [weight.new_zeros(len(each.weight)) if each.bias is None else each.bias for each in linears]
    return weight, torch.cat(zero)


def _normed(states: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(states, states.shape[-1:], weight, eps)


def _added(states: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found = torch.addmm(states, x, weight.T)
    return found if bias is None else found.add_(bias)
