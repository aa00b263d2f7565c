"""A LoRA layer as one matrix product forward and one back, where PEFT takes five of each and three temporary copies."""

from __future__ import annotations

import types
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


class MergedLora(torch.autograd.Function):
    """x (W + s B A)' + b, with W and b frozen: (M, I) to (M, O).

    The sum of the weights is made anew in each pass, which costs a product with r columns and spares two with all
    tokens; the small products that are left are those of the adapter's own gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return torch.nn.functional.linear(x, torch.addmm(weight, b, a, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors
        grad, scale = grads[0], ctx.scale
        grad_x = grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ torch.addmm(weight, b, a, alpha=scale)
        if ctx.needs_input_grad[3]:
            grad_a = torch.mm((grad @ b).T, x).mul_(scale)
        if ctx.needs_input_grad[4]:
            grad_b = torch.mm(grad.T, x @ a.T).mul_(scale)
        return grad_x, None, None, grad_a, grad_b, None


def merge_lora(model: nn.Module) -> None:
    """Let every plain LoRA layer of `model` compute that way whenever nothing more is asked of it."""
    for layer in model.modules():
        if type(layer) is LoraLinear and type(layer.base_layer) is nn.Linear:
            layer.forward = types.MethodType(_forward, layer)  # type: ignore[method-assign]


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    active = layer.active_adapters
    if not (active or args or kwargs or layer.merged):
        return layer.base_layer(x)  # what PEFT comes to as well, after ten times the work of a small product
    name = active[0] if len(active) == 1 else None
    if args or kwargs or not _simple(layer, name, x):
        return LoraLinear.forward(layer, x, *args, **kwargs)
    base, a, b = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
    out = MergedLora.apply(x.flatten(0, -2), base.weight, base.bias, a, b, layer.scaling[name])
    return out.view(*x.shape[:-1], out.shape[-1])


def _simple(layer: Any, name: str | None, x: Tensor) -> bool:
    """One adapter and no dropout, in float32: in bfloat16 the sum of the weights would round the adapter away."""
    if name not in layer.lora_A or layer.disable_adapters or layer.merged or name in layer.lora_variant:
        return False
    dropout, b = layer.lora_dropout[name], layer.lora_B[name]
    quiet = isinstance(dropout, nn.Identity) or not dropout.training
    weight = layer.base_layer.weight
    tokens, (wide, narrow) = x.numel() // x.shape[-1], weight.shape
    return (
        quiet
        and tokens * (wide + narrow) >= wide * narrow  # otherwise the sum costs more than it spares
        and b.bias is None
        and not weight.requires_grad
        and x.dtype == weight.dtype == b.weight.dtype == torch.float32
    )
