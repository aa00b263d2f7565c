"""Bottleneck adapters: two small layers behind a sublayer of every block, with the base weights frozen.

Houlsby et al. (2019) put one behind attention and one behind the feed-forward network, Pfeiffer et al. (2021) one
behind the latter. No library that does this works with the installed transformers. Ours starts as the identity (the
second layer is zero), is saved as safetensors beside an adapter_config.json, and is loaded by `load`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.compatibility import BOTTLENECK
from training.fields import RunFileError

ATTENTION, FEED_FORWARD = ("self_attn", "attn", "attention"), ("mlp", "feed_forward", "ffn")


class Bottleneck(nn.Module):
    """x + up(act(down(x))) for the active adapter of one sublayer; adapters are told apart by name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.down, self.up, self.dropouts = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self._active_adapter: list[str] = []

    def add(self, name: str, size: int, dropout: float, like: Tensor) -> None:
        self.down[name] = nn.Linear(self.width, size, device=like.device, dtype=torch.float32)
        self.up[name] = nn.Linear(size, self.width, device=like.device, dtype=torch.float32)
        self.dropouts[name] = nn.Dropout(dropout)
        nn.init.normal_(self.down[name].weight, std=1e-2)  # type: ignore[arg-type]  # as Houlsby et al.
        for zero in (self.down[name].bias, self.up[name].weight, self.up[name].bias):
            nn.init.zeros_(zero)  # type: ignore[arg-type]

    def forward(self, hidden: Tensor) -> Tensor:
        for name in self._active_adapter:
            if name in self.down:
                inner = nn.functional.gelu(self.down[name](self.dropouts[name](hidden.float())))
                hidden = hidden + self.up[name](inner).to(hidden.dtype)
        return hidden


class BottleneckModel(nn.Module):
    """A transformers model with bottleneck adapters in place; saves and names them as PEFT does its own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.base_model = model
        self.settings: dict[str, dict[str, Any]] = {}
        model.requires_grad_(False)

    def get_base_model(self) -> Any:
        return self.base_model

    @property
    def device(self) -> torch.device:
        return self.base_model.device

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    def add(self, name: str, placement: str, size: int, *, dropout: float, task_type: str, learns: bool) -> None:
        """A new adapter, active at once; with a score head, that learns and is saved with it."""
        named = getattr(self.base_model, "name_or_path", "")
        settings = {"peft_type": BOTTLENECK, "placement": placement, "size": size, "activation": "gelu"}
        self.settings[name] = settings | {"task_type": task_type, "base_model_name_or_path": named}
        for bottleneck in _places(self.base_model, placement):
            bottleneck.add(name, size, dropout, next(self.base_model.parameters()))
            bottleneck._active_adapter = [name]
        for weight in self.weights(name).values():
            weight.requires_grad_(learns)

    def weights(self, name: str) -> dict[str, nn.Parameter]:
        """What is saved of one adapter, by a name that does not depend on how the adapter is called."""
        found = {}
        for key, weight in self.base_model.named_parameters():
            if ".bottleneck_" in key and f".{name}." in key:
                found[key.replace(f".{name}", "")] = weight
        if self.settings[name]["task_type"] == "SEQ_CLS":
            found |= {f"score.{key}": weight for key, weight in self.base_model.score.named_parameters()}
        return found

    def save_pretrained(self, folder: Path | str, selected_adapters: Sequence[str] | None = None) -> None:
        """Write the adapter (the first, or the selected one) into `folder`."""
        name = selected_adapters[0] if selected_adapters else next(iter(self.settings))
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = {key: weight.detach().cpu().contiguous() for key, weight in self.weights(name).items()}
        save_file(tensors, target / "adapter_model.safetensors")
        (target / "adapter_config.json").write_text(json.dumps(self.settings[name], indent=1) + "\n", "utf-8")


def load(model: Any, folder: Path, name: str = "default", *, learns: bool = False, head: bool = True) -> Any:
    """`model` (or the wrapper around it) with the saved adapter in `folder`; `head`: with its score head, if any."""
    wrapped = model if isinstance(model, BottleneckModel) else BottleneckModel(model)
    saved = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    task = saved["task_type"] if head else "CAUSAL_LM"
    wrapped.add(name, saved["placement"], saved["size"], dropout=0.0, task_type=task, learns=learns)
    put(wrapped, name, load_file(folder / "adapter_model.safetensors"))
    return wrapped


def put(wrapped: BottleneckModel, name: str, tensors: dict[str, Tensor]) -> None:
    """The saved weights of an adapter into the one called `name`."""
    own = wrapped.weights(name)
    fitting = {key: tensor for key, tensor in tensors.items() if key in own and own[key].shape == tensor.shape}
    if fitting.keys() != own.keys():
        raise RunFileError("adapter", "does not fit the base model: other blocks, widths or sizes")
    with torch.no_grad():
        for key, weight in own.items():
            weight.copy_(fitting[key])


def _places(model: Any, placement: str) -> Iterator[Bottleneck]:
    """The bottleneck behind each sublayer that `placement` names, made where there is none yet."""
    decoder = model.base_model
    blocks = getattr(decoder, "layers", None) or getattr(decoder, "h", None)
    kinds = {"attention": ATTENTION, "feed_forward": FEED_FORWARD} if placement == "houlsby" else {}
    for block in blocks or ():
        for kind, names in (kinds or {"feed_forward": FEED_FORWARD}).items():
            sublayer = next((getattr(block, name) for name in names if hasattr(block, name)), None)
            if sublayer is None:
                raise RunFileError("adapter.method", f"cannot be {placement}: this model's blocks have no {kind} part")
            if not hasattr(block, f"bottleneck_{kind}"):
                bottleneck = Bottleneck(model.config.get_text_config().hidden_size)
                block.add_module(f"bottleneck_{kind}", bottleneck)
                sublayer.register_forward_hook(_behind(bottleneck))
            yield getattr(block, f"bottleneck_{kind}")
    if not blocks:
        raise RunFileError("adapter.method", f"cannot be {placement}: this model's blocks are not where Hone looks")


def _behind(bottleneck: Bottleneck) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (bottleneck(output[0]), *output[1:])
        return bottleneck(output)

    return hook
