"""A LoRA layer as one matrix product forward and one back, where PEFT takes five of each and three temporary copies."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


class Linear(NamedTuple):
    """x (W + s B A)' + b, with W and b frozen; without an adapter just x W' + b."""

    weight: Tensor
    bias: Tensor | None
    a: Tensor | None = None
    b: Tensor | None = None
    scale: float = 1.0

    @property
    def merged(self) -> Tensor:
        if self.a is None or self.b is None:
            return self.weight
        return torch.addmm(self.weight, self.b, self.a, alpha=self.scale)


class Maps:
    """Linear maps of one input, side by side: a product forward and one back.

    The sum of the weights is made anew in each pass, which costs a product with r columns and spares two with all
    tokens. Beside it stand the A of all maps going forward and their B coming back: what the adapter's own gradients
    are made of costs little as a few more columns, and much as a product of its own.
    """

    def __init__(self, linears: Sequence[Linear]) -> None:
        self.linears = linears
        self.sizes = [len(linear.weight) for linear in linears]
        self.ranks = [0 if linear.a is None else len(linear.a) for linear in linears]
        self.width, self.rank = sum(self.sizes), sum(self.ranks)

    def of(self, x: Tensor) -> Tensor:
        """(M, O + R): what the maps make of x, then x A' of each."""
        if not self.rank:  # weights without an adapter are not copied
            found = [nn.functional.linear(x, linear.weight, linear.bias) for linear in self.linears]
            return found[0] if len(found) == 1 else torch.cat(found, dim=1)
        whole = x.new_empty(self.width + self.rank, x.shape[1])
        parts = whole.split([*self.sizes, *self.ranks])
        for linear, part, low in zip(self.linears, parts, parts[len(self.sizes) :], strict=False):
            _merge(linear, part)
            if linear.a is not None:
                low.copy_(linear.a)
        return nn.functional.linear(x, whole, self._bias(x))

    def added_to(self, states: Tensor, x: Tensor) -> Tensor:
        """(M, O) `states` and what becomes of x; for a single map."""
        linear = self.linears[0]
        found = torch.addmm(states, x, linear.merged.T)
        return found if linear.bias is None else found.add_(linear.bias)

    def back(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """(M, I) gradient of x from that of what became of it, and (M, R) what gradients of A are made of."""
        if not self.rank:
            parts = grad.split(self.sizes, dim=1)
            found = parts[0] @ self.linears[0].weight
            for part, linear in zip(parts[1:], self.linears[1:], strict=True):
                found.addmm_(part, linear.weight)
            return found, grad[:, :0]
        inputs = self.linears[0].weight.shape[1]
        whole = grad.new_empty(self.width, inputs + self.rank)
        whole[:, inputs:] = 0
        first = inputs
        for linear, part, rank in zip(self.linears, whole.split(self.sizes), self.ranks, strict=True):
            _merge(linear, part[:, :inputs])
            if linear.b is not None:
                part[:, first : first + rank] = linear.b
            first += rank
        both = grad @ whole
        return both[:, :inputs], both[:, inputs:]

    def low(self, grad: Tensor) -> Tensor:
        """(M, R) the second of these alone, where x is wanted by nobody."""
        parts = zip(self.linears, grad.split(self.sizes, dim=1), strict=True)
        found = [part @ linear.b for linear, part in parts if linear.b is not None]
        return torch.cat(found, dim=1) if found else grad[:, :0]

    def narrow(self, x: Tensor) -> Tensor:
        """(M, R) x A' of each."""
        found = [linear.a for linear in self.linears if linear.a is not None]
        return x @ torch.cat(found).T if found else x[:, :0]

    def gradients(self, x: Tensor, narrow: Tensor, grad: Tensor, low: Tensor) -> list[Tensor | None]:
        """Those of the five parts of each map as arguments: only A and B have some."""
        found: list[Tensor | None] = [None] * (5 * len(self.linears))
        if not self.rank:
            return found
        parts = zip(
            self.linears, grad.split(self.sizes, 1), narrow.split(self.ranks, 1), (low.T @ x).split(self.ranks),
            strict=True,
        )  # fmt: skip
        for place, (linear, own, seen, grad_a) in enumerate(parts):
            if linear.a is not None:
                found[5 * place + 2] = grad_a * linear.scale
                found[5 * place + 3] = torch.mm(own.T, seen).mul_(linear.scale)
        return found

    def _bias(self, x: Tensor) -> Tensor | None:
        if all(linear.bias is None for linear in self.linears):
            return None
        filled = [
            x.new_zeros(size) if linear.bias is None else linear.bias
            for size, linear in zip(self.sizes, self.linears, strict=True)
        ]
        return torch.cat([*filled, x.new_zeros(self.rank)])


def _merge(linear: Linear, out: Tensor) -> None:
    if linear.a is None or linear.b is None:
        out.copy_(linear.weight)
    else:
        torch.addmm(linear.weight, linear.b, linear.a, alpha=linear.scale, out=out)


class MergedLora(torch.autograd.Function):
    """One such map of (M, I) inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *flat: Any) -> Tensor:
        linear = Linear(*flat)
        ctx.save_for_backward(x, *flat[:4])
        ctx.scale = linear.scale
        return nn.functional.linear(x, linear.merged, linear.bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, a, b = ctx.saved_tensors
        linear = Linear(weight, bias, a, b, ctx.scale)
        maps = Maps([linear])
        below, low = maps.back(grads[0]) if ctx.needs_input_grad[0] else (None, maps.low(grads[0]))
        return below, *maps.gradients(x, maps.narrow(x), grads[0], low)


def merge_lora(model: nn.Module) -> None:
    """Let every plain LoRA layer of `model` compute that way whenever nothing more is asked of it."""
    for layer in model.modules():
        if type(layer) is LoraLinear and type(layer.base_layer) is nn.Linear:
            layer.forward = types.MethodType(_forward, layer)  # type: ignore[method-assign]


def spoken(layer: Any, *, frozen: bool = True) -> Linear | None:
    """What a linear layer comes to now; None where it is more than such a sum, or (`frozen`) its weight learns.

    One adapter and no dropout, in float32: in bfloat16 the sum of the weights would round the adapter away.
    """
    base = layer.base_layer if type(layer) is LoraLinear else layer
    weight = getattr(base, "weight", None)
    if type(base) is not nn.Linear or weight is None or weight.dtype != torch.float32:
        return None
    if frozen and weight.requires_grad:
        return None
    if base is layer or ((layer.disable_adapters or not layer.active_adapters) and not layer.merged):
        return Linear(weight, base.bias)
    name = layer.active_adapters[0] if len(layer.active_adapters) == 1 else None
    if name not in layer.lora_A or layer.merged or name in layer.lora_variant:
        return None
    dropout, a, b = layer.lora_dropout[name], layer.lora_A[name], layer.lora_B[name]
    quiet = isinstance(dropout, nn.Identity) or not dropout.training
    if not quiet or b.bias is not None or b.weight.dtype != torch.float32:
        return None
    return Linear(weight, base.bias, a.weight, b.weight, layer.scaling[name])


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    active = layer.active_adapters
    if not (active or args or kwargs or layer.merged):
        return layer.base_layer(x)  # what PEFT comes to as well, after ten times the work of a small product
    linear = None if args or kwargs or x.dtype != torch.float32 else spoken(layer)
    if linear is None or linear.a is None or not _worth_it(linear.weight, x):
        return LoraLinear.forward(layer, x, *args, **kwargs)
    out = MergedLora.apply(x.flatten(0, -2), *linear)
    return out.view(*x.shape[:-1], out.shape[-1])


def _worth_it(weight: Tensor, x: Tensor) -> bool:
    """Whether there are so many tokens that the sum of the weights costs less than it spares."""
    wide, narrow = weight.shape
    return x.numel() // x.shape[-1] * (wide + narrow) >= wide * narrow
