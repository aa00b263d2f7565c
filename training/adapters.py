"""Adapters put on a model: which library makes each method, how one is copied, loaded and found in place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import (
    AdaLoraConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as IA3_TARGETS
from safetensors.torch import load_file
from torch import nn

from training import bottleneck, fused, virtual
from training.bottleneck import Bottleneck, BottleneckModel
from training.compatibility import BOTTLENECK, BOTTLENECKS, VIRTUAL, require_copy
from training.runfile import Adapter, RunFileError
from training.virtual import VirtualTokens

TASKS = {"causal": "CAUSAL_LM", "reward": "SEQ_CLS"}  # SEQ_CLS makes PEFT save the score head with the adapter
MARKS = ("lora_", "ia3_", "virtual.", "bottleneck_")  # in the names of weights that belong to an adapter
PENDING = 10**9  # AdaLoRA's number of steps until `budget.follow` knows it


def attach(
    model: Any, adapter: Adapter, *, task: str, name: str = "default", trainable: bool = True, start: Path | None = None
) -> Any:
    """`model` with an adapter called `name` on it; `task` is causal or reward.

    With `start`, the new adapter begins as a copy of the one in that folder, which must have the same shape.
    """
    if start:
        require_copy(adapter, start)
    if adapter.method in BOTTLENECKS:
        wrapped = model if isinstance(model, BottleneckModel) else BottleneckModel(model)
        dropout, task_type = adapter.dropout, TASKS[task]
        wrapped.add(name, adapter.method, adapter.bottleneck, dropout=dropout, task_type=task_type, learns=trainable)
        if start:
            bottleneck.put(wrapped, name, _with_head(start, dict(wrapped.weights(name))))
        return wrapped
    config = config_of(adapter, model, TASKS[task])
    config.inference_mode = not trainable  # otherwise a later set_adapter would unfreeze it
    model = _with_config(model, config, name)
    fused.merge_lora(core(model))
    if start:
        _copy(model, name, start)
    return model


def config_of(adapter: Adapter, model: Any, task_type: str) -> PeftConfig:
    """PEFT's own description of the adapter."""
    method = adapter.method
    common: dict[str, Any] = {"task_type": task_type}
    if method == "ia3":
        known = core(model).config.get_text_config().model_type in IA3_TARGETS
        # Without a known list every linear layer is scaled at its output: PEFT cannot tell which are feed-forward.
        places: dict[str, Any] = {} if known else {"target_modules": "all-linear", "feedforward_modules": []}
        return IA3Config(**common, **places)
    if method in VIRTUAL:
        common["num_virtual_tokens"] = adapter.virtual_tokens
        if method == "prefix":
            return PrefixTuningConfig(**common)
        if method == "p_tuning":
            return PromptEncoderConfig(**common)
        # Words make better first positions than noise does: Lester et al. (2021), section 3.2.
        return PromptTuningConfig(prompt_tuning_init="SAMPLE_VOCAB", **common)
    layers: dict[str, Any] = {
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": adapter.targets,
    }
    if method == "adalora":
        final = adapter.target_r or max(1, adapter.r * 2 // 3)
        return AdaLoraConfig(init_r=adapter.r, target_r=final, total_step=PENDING, **layers, **common)
    return LoraConfig(r=adapter.r, use_dora=method == "dora", use_rslora=method == "rslora", **layers, **common)


def load(model: Any, folder: Path, name: str = "default", *, learns: bool = False, head: bool = True) -> Any:
    """`model` with the trained adapter in `folder` on it, as `name`; without `head`, a score head is left out."""
    saved = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    if saved.get("peft_type") == BOTTLENECK:
        return bottleneck.load(model, folder, name, learns=learns, head=head)
    if head and not isinstance(model, PeftModel):
        with quiet_peft():
            loaded = PeftModel.from_pretrained(model, folder, adapter_name=name, is_trainable=learns)
        if loaded.peft_config[name].is_prompt_learning:
            virtual.install(loaded, name)
        return loaded
    config = PeftConfig.from_pretrained(str(folder))
    config.task_type, config.inference_mode = "CAUSAL_LM", not learns
    if hasattr(config, "modules_to_save"):
        config.modules_to_save = None
    loaded = _with_config(model, config, name)
    tensors = {key: tensor for key, tensor in load_file(folder / "adapter_model.safetensors").items() if _own(key)}
    result: Any = set_peft_model_state_dict(loaded, tensors, adapter_name=name)
    if _unknown(result) or len(tensors) != _count(loaded, name):
        raise RunFileError("adapter", f"in {folder} does not fit the base model")
    return loaded


def beside(folder: Path) -> dict[str, Any]:
    """What was saved with an adapter besides itself (a score head), by name."""
    return {key: t for key, t in load_file(folder / "adapter_model.safetensors").items() if not _own(key)}


def layers_of(model: nn.Module) -> list[Any]:
    """Every place in `model` where an adapter acts; each says by `_active_adapter` which."""
    return [each for each in model.modules() if isinstance(each, BaseTunerLayer | VirtualTokens | Bottleneck)]


def names_on(layer: Any) -> set[str]:
    """The adapters that one such place knows."""
    if isinstance(layer, VirtualTokens):
        return {layer.name}
    if isinstance(layer, Bottleneck):
        return set(layer.down)
    return {name for attribute in layer.adapter_layer_names for name in getattr(layer, attribute)}


def weights_of(lm: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """The weights of one adapter, by a name that does not depend on how the adapter is called."""
    found = {}
    for key, weight in lm.named_parameters():
        if any(mark in key for mark in MARKS) and (f".{name}." in key or key.endswith(f".{name}")):
            found[key.replace(f".{name}", "")] = weight
    return found


def family(folder: Path) -> str:
    """What two adapters must have in common to stand on one base in memory."""
    return str(json.loads((folder / "adapter_config.json").read_text("utf-8")).get("peft_type"))


def core(model: Any) -> Any:
    """The transformers model inside a wrapper, adapters in place; the model itself when there is none."""
    return model.get_base_model() if isinstance(model, PeftModel | BottleneckModel) else model


@contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5 by a deprecated name, looks for AdaLoRA's ranks where only LoRA keeps its, and
    takes a layer whose ranks all went elsewhere for a broken file.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        warnings.filterwarnings("ignore", "The following rank_pattern keys", RuntimeWarning)
        warnings.filterwarnings("ignore", r"Adapter '.*': \d+ LoRA tensor\(s\) have invalid shape")
        yield


def _with_config(model: Any, config: PeftConfig, name: str) -> Any:
    with quiet_peft():
        if isinstance(model, PeftModel):
            if config.is_prompt_learning or model.active_peft_config.is_prompt_learning:
                raise RunFileError("adapter", "of trained positions cannot share a base with another adapter")
            model.add_adapter(name, config)
            return model
        try:
            wrapped = get_peft_model(model, config, adapter_name=name)
        except ValueError as error:
            raise RunFileError("adapter", f"does not fit this model: {error}") from error
    if config.is_prompt_learning:
        virtual.install(wrapped, name)
    return wrapped


def _copy(model: Any, name: str, start: Path) -> None:
    scores = hasattr(core(model), "score")
    own = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False) if scores else {}
    result: Any = set_peft_model_state_dict(model, _with_head(start, own), adapter_name=name)
    if unknown := _unknown(result):
        raise RunFileError("adapter.targets", f"leave out {unknown[0]}, which the start adapter has")


def _with_head(start: Path, own: dict[str, Any]) -> dict[str, Any]:
    """The weights in `start`, and where a policy's adapter has no score head, the new one of `own`."""
    saved = load_file(start / "adapter_model.safetensors")
    head = {key: weight for key, weight in own.items() if not _own(key)}
    for key, weight in head.items():
        if key in saved and saved[key].shape != weight.shape:
            shapes = f"{saved[key].shape[0]} outputs, and this run's has {weight.shape[0]}"
            raise RunFileError("start_adapter", f"has a score head with {shapes}; start from the policy's adapter")
    return head | saved


def _unknown(result: Any) -> list[str]:
    """Saved weights that found no place; trained positions have theirs outside the modules PEFT looks through."""
    return [key for key in result.unexpected_keys if key != "prompt_embeddings"]


def _own(key: str) -> bool:
    return any(mark in key for mark in MARKS) or key == "prompt_embeddings"


def _count(model: Any, name: str) -> int:
    return len(weights_of(core(model), name))
