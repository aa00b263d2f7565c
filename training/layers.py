"""A layer of the Llama family that keeps little for its backward pass, and computes of the last one what is asked for.

Autograd keeps every step of a norm, a rotation and a gated product. Here the projections that read one state are one
product with one sum of weights (training/fused.py), a backward pass finds the cheap steps again from what it read, and
the last layer takes queries, and all that follows attention, at the wanted tokens alone.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import attention
from training.attention import Gather, Layout, Put, Reading
from training.fused import Linear, Maps, spoken

# Layers that are wired alike: norm, attention, sum, norm, gated product, sum.
FAMILY = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
ATTENTION, FEED_FORWARD = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")


def fuse(model: nn.Module) -> None:
    """Let the layers of `model` compute that way whenever they read a row of trees and their weights are frozen."""
    layers: list[Any] = [each for each in model.modules() if type(each).__name__ in FAMILY]
    for layer in layers:
        if layer.self_attn.config.hidden_act == "silu":
            layer.forward = types.MethodType(_forward, layer)
            layer.hone_last = layer is layers[-1]


def frugal(model: nn.Module) -> bool:
    """Whether the layers of `model` compute that way as they are now."""
    layer: Any = next((each for each in model.modules() if hasattr(each, "hone_last")), None)
    return layer is not None and linears_of(layer, layer.input_layernorm.weight) is not None


def _forward(layer: Any, hidden_states: Tensor, *args: Any, **keys: Any) -> Tensor:
    reading = attention.current()
    plain = reading is not None and not args and keys.get("past_key_values") is None
    linears = linears_of(layer, hidden_states) if plain else None
    if reading is None or linears is None:
        return type(layer).forward(layer, hidden_states, *args, **keys)
    cos, sin = (each[0] for each in keys["position_embeddings"])
    wanted = reading.wanted if layer.hone_last else None
    states = hidden_states[0]
    found = _attend(layer, linears, states, cos, sin, reading, wanted)
    reading.picked |= wanted is not None
    norm = layer.post_attention_layernorm
    return GatedProduct.apply(found, norm.weight, norm.variance_epsilon, *_flat(linears[4:]))[None]


def linears_of(layer: Any, states: Tensor, *, frozen: bool = True) -> list[Linear] | None:
    """What its projections come to, None where one is more than a sum, or (`frozen`) more than an adapter learns."""
    attend, inner = layer.self_attn, layer.mlp
    norms = (layer.input_layernorm, layer.post_attention_layernorm)
    weights = [norm.weight for norm in norms]
    if states.dtype != torch.float32 or any(w.dtype != torch.float32 for w in weights):
        return None
    if frozen and any(w.requires_grad for w in weights):
        return None
    if any(part._forward_hooks or part._forward_pre_hooks for part in (attend, inner, *norms)):
        return None  # something sits behind it: a bottleneck adapter
    found = [spoken(getattr(attend, name), frozen=frozen) for name in ATTENTION]
    found += [spoken(getattr(inner, name), frozen=frozen) for name in FEED_FORWARD]
    return None if None in found else found  # type: ignore[return-value]


def _attend(
    layer: Any, linears: list[Linear], states: Tensor, cos: Tensor, sin: Tensor, reading: Reading, wanted: Tensor | None
) -> Tensor:
    """(N, D) states with what attention adds to them; (M, D) where M tokens alone are wanted."""
    attend, norm, layout, order = layer.self_attn, layer.input_layernorm, reading.layout, reading.order
    width, reads = attend.head_dim, (norm.weight, norm.variance_epsilon)
    heads = [len(linear.weight) // width for linear in linears[:3]]
    dropout = attend.attention_dropout if attend.training else 0.0
    if wanted is None:
        mixed = Projections.apply(states, *reads, *_flat(linears[:3]))
        laid = Rotated.apply(mixed, cos, sin, layout, heads, 2)
        at = layout.first
    else:
        mixed = Projections.apply(states, *reads, *_flat(linears[1:3]))
        key, value = Rotated.apply(mixed, cos, sin, layout, heads[1:], 1)
        states, cos, sin = states.index_select(0, wanted), cos[wanted], sin[wanted]
        query = Rotated.apply(Projections.apply(states, *reads, *_flat(linears[:1])), cos, sin, None, heads[:1], 1)[0]
        if order is not None:
            found = attention.at_ends(query, key, value, layout, order, attend.scaling, dropout)
            return Added.apply(states, found.flatten(1), *_flat(linears[3:4]))
        at = layout.first[wanted]
        laid = (Put.apply(query, at, len(layout.places)), key, value)
    found = Gather.apply(attention.among(laid[0], laid[1], laid[2], layout, attend.scaling, dropout), at)
    return Added.apply(states, found.flatten(1), *_flat(linears[3:4]))


def _flat(linears: list[Linear]) -> tuple[Any, ...]:
    """As an operation takes them: autograd looks at tensors that are arguments themselves."""
    return tuple(each for linear in linears for each in linear)


def _unflat(flat: tuple[Any, ...]) -> list[Linear]:
    return [Linear(*flat[first : first + 5]) for first in range(0, len(flat), 5)]


class Projections(torch.autograd.Function):
    """(N, D) states, normed (Zhang and Sennrich 2019, equation 4), times some weights: (N, O) side by side."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, norm: Tensor, eps: float, *flat: Any) -> Tensor:
        maps, scale = Maps(_unflat(flat)), _inverse_size(states, eps)
        both = maps.of(_normed(states, scale, norm))
        ctx.save_for_backward(states, scale, norm, both[:, maps.width :].clone(), *_tensors(flat))
        ctx.scales = [linear.scale for linear in maps.linears]
        return both[:, : maps.width]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        states, scale, norm, narrow, *tensors = ctx.saved_tensors
        maps, grad, below = Maps(_with_scales(tensors, ctx.scales)), grads[0], None
        x = _normed(states, scale, norm)
        if ctx.needs_input_grad[0]:
            below, low = maps.back(grad)
            adapters = maps.gradients(x, narrow, grad, low)
            return _through_norm(below, states, scale, norm), None, None, *adapters
        return None, None, None, *maps.gradients(x, narrow, grad, maps.low(grad))


class Added(torch.autograd.Function):
    """(N, D) states and what (N, I) inputs come to by a weight."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, x: Tensor, *flat: Any) -> Tensor:
        maps = Maps(_unflat(flat))
        ctx.save_for_backward(x, *_tensors(flat))
        ctx.scales = [linear.scale for linear in maps.linears]
        return maps.added_to(states, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        maps = Maps(_with_scales(tensors, ctx.scales))
        below, low = maps.back(grads[0])
        return grads[0], below, *maps.gradients(x, maps.narrow(x), grads[0], low)


class GatedProduct(torch.autograd.Function):
    """(N, D) states and the feed-forward part of a layer: x + (silu(n G') * n U') D' of the normed n."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, norm: Tensor, eps: float, *flat: Any) -> Tensor:
        linears, scale = _unflat(flat), _inverse_size(states, eps)
        first = Maps(linears[:2])
        both = first.of(_normed(states, scale, norm))
        gate, up = both[:, : first.width].chunk(2, dim=1)
        ctx.save_for_backward(states, scale, norm, both, *_tensors(flat))
        ctx.scales = [linear.scale for linear in linears]
        return Maps(linears[2:]).added_to(states, F.silu(gate).mul_(up))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        states, scale, norm, both, *tensors = ctx.saved_tensors
        linears, grad = _with_scales(tensors, ctx.scales), grads[0]
        first, second = Maps(linears[:2]), Maps(linears[2:])
        gate, up = both[:, : first.width].chunk(2, dim=1)
        through, low = second.back(grad)
        bent = F.silu(gate)
        inner = both.new_empty(len(both), first.width)
        torch.mul(through, bent, out=inner[:, up.shape[1] :])
        x = bent.mul_(up)
        down = second.gradients(x, second.narrow(x), grad, low)
        torch.ops.aten.silu_backward(through.mul_(up), gate, grad_input=inner[:, : up.shape[1]])
        below, low = first.back(inner)
        adapters = first.gradients(_normed(states, scale, norm), both[:, first.width :], inner, low)
        if not ctx.needs_input_grad[0]:
            return None, None, None, *adapters, *down
        return _through_norm(below, states, scale, norm).add_(grad), None, None, *adapters, *down


class Rotated(torch.autograd.Function):
    """(N, O) projections as (P, H, W) heads of places, the first `turned` sorts of heads rotated by their positions.

    Su et al. (2021), equation 34, with the halves of a head as its pairs. Without a layout tokens stay where they are.
    """

    @staticmethod
    def forward(
        ctx: Any, mixed: Tensor, cos: Tensor, sin: Tensor, layout: Layout | None, heads: list[int], turned: int
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos, sin)
        ctx.layout, ctx.heads, ctx.turned = layout, heads, turned
        whole = mixed.unflatten(1, (sum(heads), -1))
        out = whole.clone() if turned < len(heads) else torch.empty_like(whole)
        many = sum(heads[:turned])
        rotate(whole[:, :many], cos, sin, out[:, :many])
        return tuple(part if layout is None else part.index_select(0, layout.places) for part in out.split(heads, 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (cos, sin), heads, layout = ctx.saved_tensors, ctx.heads, ctx.layout
        grad = torch.cat([each if layout is None else layout.gathered(each) for each in grads], dim=1)
        turned = grad[:, : sum(heads[: ctx.turned])]
        turned.copy_(rotate(turned, cos, -sin, torch.empty_like(turned)))
        return grad.flatten(1), None, None, None, None, None


def rotate(whole: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> Tensor:
    half = whole.shape[-1] // 2
    cos, sin = cos[:, None, :half], sin[:, None, :half]
    first, second = whole[..., :half], whole[..., half:]
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin)
    return out


def _inverse_size(states: Tensor, eps: float) -> Tensor:
    return torch.linalg.vecdot(states, states).div_(states.shape[-1]).add_(eps).rsqrt_()[:, None]


def _normed(states: Tensor, scale: Tensor, norm: Tensor) -> Tensor:
    return (states * scale).mul_(norm)


def _through_norm(grad: Tensor, states: Tensor, scale: Tensor, norm: Tensor) -> Tensor:
    """The gradient of the states from that of the normed ones, which is used up."""
    grad.mul_(norm)
    along = torch.linalg.vecdot(grad, states)[:, None].mul_(scale**3 / states.shape[-1])
    return grad.mul_(scale).addcmul_(states, along, value=-1)


def _tensors(flat: tuple[Any, ...]) -> list[Tensor | None]:
    return [each for linear in _unflat(flat) for each in linear[:4]]


def _with_scales(tensors: list[Any], scales: list[float]) -> list[Linear]:
    parts = zip(*(tensors[part::4] for part in range(4)), scales, strict=True)
    return [Linear(weight, bias, a, b, scale) for weight, bias, a, b, scale in parts]
