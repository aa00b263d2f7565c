"""Tokenizers, models and adapters: loaded from and saved to plain transformers and PEFT folders."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)

from training import ensembles, heap, machine
from training.adapters import core as core
from training.adapters import load, quiet_peft
from training.heads import Heads
from training.rundir import RunDir
from training.runfile import Adapter, Hardware, ModelRef, RunFile, RunFileError, model_hash

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()  # what matters of a load is checked in _load

# A blank line between messages; the final answer continues the prompt's text directly, as base models expect.
PLAIN = (
    "{% for message in messages %}"
    "{% set answer = loop.last and message['role'] == 'assistant' %}"
    "{% if not loop.first and not answer %}{{ '\\n\\n' }}{% endif %}"
    "{{ message['content'] }}{% if answer %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Tokens that published models reserve for padding or leave unused, in order of preference.
PADS = ("<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "[PAD]", "<unk>", "<|endoftext|>", "<unused0>",
        "<|reserved_special_token_0|>", "<reserved_0>")  # fmt: skip


def prepare(hardware: Hardware, seed: int) -> torch.device:
    """Seed every generator, set the thread count and choose the device."""
    heap.keep_freed()
    random.seed(seed)
    np.random.seed(seed)  # libraries draw from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(hardware.threads or machine.cores())
    return device_of(hardware)


def device_of(hardware: Hardware) -> torch.device:
    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise RunFileError("hardware.device", "is cuda, but this machine has no usable GPU; set it to cpu or auto")
    return torch.device("cuda" if hardware.device != "cpu" and torch.cuda.is_available() else "cpu")


def dtype_of(hardware: Hardware) -> torch.dtype:
    if hardware.dtype == "auto":
        fast = device_of(hardware).type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[hardware.dtype]


def load_tokenizer(config: RunFile, run_path: Path, folder: Path | None = None) -> Any:
    """The tokenizer of `folder` (default: the start adapter's own, else the base model's), fit for training.

    It has a padding token that is not EOS and a chat template; `hone_adds_bos` says whether texts begin with BOS.
    """
    if folder is None:
        assert config.base_model is not None
        start = config.start_adapter.path if config.start_adapter else None
        folder = start if start and (start / "tokenizer_config.json").is_file() else config.base_model.path
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RunFileError("base_model.path", f"has no tokenizer that can be loaded: {folder}") from error
    if tokenizer.eos_token_id is None:
        raise RunFileError("base_model.path", "has a tokenizer without an end-of-sequence token; set eos_token in it")
    _choose_pad(tokenizer, config.base_model.path if config.base_model else folder)
    ids = tokenizer("a").input_ids
    tokenizer.hone_adds_bos = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    _choose_template(tokenizer, config.template, run_path)
    return tokenizer


def _choose_pad(tokenizer: Any, folder: Path) -> None:
    """Padding with EOS would hide the end of every answer from the loss, and the model would never learn to stop."""
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    vocabulary = tokenizer.get_vocab()
    for token in (*PADS, tokenizer.unk_token):
        if token in vocabulary and vocabulary[token] not in (tokenizer.eos_token_id, tokenizer.bos_token_id):
            tokenizer.pad_token = token
            return
    size = json.loads((folder / "config.json").read_text("utf-8")).get("vocab_size", 0)
    if max(vocabulary.values()) + 1 < size:  # the embedding has a row to spare
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
        return
    raise RunFileError(
        "base_model.path", "has a tokenizer whose only padding token is its end token; add a pad token to it"
    )


def _choose_template(tokenizer: Any, template: str | None, run_path: Path) -> None:
    if template is None:
        if not tokenizer.chat_template:
            choices = "give plain, chatml or a jinja file in the run directory"
            raise RunFileError("template", f"is required: this tokenizer has no chat template; {choices}")
        return
    bos = "{{ bos_token }}" if tokenizer.hone_adds_bos else ""
    if template in ("plain", "chatml"):
        tokenizer.chat_template = bos + (PLAIN if template == "plain" else CHATML)
    else:
        tokenizer.chat_template = (run_path / template).read_text("utf-8")
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    except jinja2.TemplateSyntaxError as error:
        raise RunFileError("template", f"is no Jinja template: {error} (line {error.lineno})") from error
    except jinja2.TemplateError:  # one that asks for more than a question
        return


def load_causal(folder: Path, hardware: Hardware, *, training: bool = False, adapter: Adapter | None = None) -> Any:
    """The causal model in `folder`, on its device; `training` all weights takes float32, always.

    For an `adapter` that asks for it (QLoRA), the frozen weights are quantised.
    """
    return _load(AutoModelForCausalLM, folder, hardware, training=training, **_quantised(adapter, hardware))


def load_classifier(
    folder: Path,
    hardware: Hardware,
    pad_token_id: int,
    *,
    training: bool = False,
    new_head: bool = True,
    adapter: Adapter | None = None,
    outputs: int = 1,
) -> Any:
    """The model in `folder` with a score head, which reads the last token that is not padding."""
    lack = "score.weight" if new_head else ""
    kind = AutoModelForSequenceClassification
    options = _quantised(adapter, hardware) | {"may_lack": lack, "num_labels": outputs}
    model = _load(kind, folder, hardware, training=training, **options)
    model.config.pad_token_id = pad_token_id
    return model


def _load(kind: Any, folder: Path, hardware: Hardware, *, training: bool, may_lack: str = "", **options: Any) -> Any:
    dtype = torch.float32 if training else dtype_of(hardware)
    options |= {"dtype": dtype, "use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    try:
        model, found = kind.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        raise RunFileError("base_model.path", f"cannot be loaded from {folder}: {error}") from error
    lacking = sorted(set(found["missing_keys"]) - {may_lack})
    if lacking:  # transformers would fill them with noise
        raise RunFileError("base_model.path", f"lacks the weights {', '.join(lacking[:3])}: {folder}")
    return model if "device_map" in options else model.to(device_of(hardware))


def _quantised(adapter: Adapter | None, hardware: Hardware) -> dict[str, Any]:
    """How a base is loaded for QLoRA: 4 bit NF4 with double quantisation (Dettmers et al. 2023), or 8 bit."""
    if adapter is None or adapter.method != "qlora":
        return {}
    if adapter.bits == 8:
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["score", "lm_head"])
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype_of(hardware),
            llm_int8_skip_modules=["score", "lm_head"],
        )
    return {"quantization_config": config, "device_map": {"": device_of(hardware)}}


def load_reward(
    folder: Path,
    base: Path | None,
    hardware: Hardware,
    pad_token_id: int,
    *,
    training: bool = False,
    adapter: Adapter | None = None,
) -> Any:
    """A trained reward model, ready to score: an adapter on `base`, or a whole classifier when it is none."""
    heads = Heads.of(folder)
    count = heads.each
    if not is_adapter(folder):
        return load_classifier(folder, hardware, pad_token_id, training=training, new_head=False, outputs=count).eval()
    model = load_classifier(
        base or base_of(folder), hardware, pad_token_id, training=training, adapter=adapter, outputs=count
    )
    return ensembles.load(model, folder, heads.adapters).eval()


def load_policy(folder: Path, adapter: Path | None, hardware: Hardware, trained: Adapter | None = None) -> Any:
    """A policy ready to answer: the model in `folder`, with `adapter` on it when there is one."""
    model = load_causal(folder, hardware, adapter=trained)
    return (load(model, adapter) if adapter else model).eval()


def load_result(folder: Path, config: RunFile) -> Any:
    """A policy that a run has just saved, loaded back the plain way."""
    assert config.base_model is not None
    if is_adapter(folder):
        return load_policy(config.base_model.path, folder, config.hardware, config.adapter)
    return load_causal(folder, config.hardware, training=True).eval()


def longest(config: RunFile) -> tuple[int, bool]:
    """(longest row in tokens, whether params.max_length could be raised): the model's own context is the limit."""
    assert config.base_model is not None
    known = json.loads((config.base_model.path / "config.json").read_text("utf-8"))
    context = (known.get("text_config") or known).get("max_position_embeddings") or config.params.max_length
    return min(context, config.params.max_length), config.params.max_length < context


def is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def base_of(folder: Path) -> Path:
    """The base model that an adapter names."""
    return Path(json.loads((folder / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"])


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def learning(model: nn.Module) -> dict[str, Tensor]:
    """The weights that learn, by name, as a checkpoint keeps them."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def put_back(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """The weights of a checkpoint into those of the same names."""
    if own.keys() != tensors.keys():
        raise RunFileError("adapter", "changed since the last checkpoint; put it back, or delete checkpoints/")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(tensors[name])


def let_go(model: Any) -> None:
    """Give back the memory of a model that is done with, whoever still holds it; it keeps its shapes alone."""
    if getattr(model, "hf_quantizer", None) is None:  # quantised weights do not move
        model.to("meta")


def save_policy(model: Any, tokenizer: Any, run: RunDir, config: RunFile, **facts: Any) -> Path:
    """Write the result to model/ with everything plain transformers and PEFT need to load it."""
    return _save(model, tokenizer, run, _card(config, "policy") | facts)


def save_reward(model: Any, tokenizer: Any, run: RunDir, config: RunFile, **facts: Any) -> Path:
    """The same for a reward model; its score head is saved with it."""
    return _save(model, tokenizer, run, _card(config, "reward") | facts)


def _card(config: RunFile, role: str) -> dict[str, Any]:
    raw = config.raw
    card = {"kind": config.kind, "role": role, "run": config.name, "seed": config.seed, "template": config.template}
    for key in ("base_model", "start_adapter"):
        found: ModelRef | None = getattr(config, key)
        path = raw[key]["path"] if isinstance(raw.get(key), dict) else raw.get(key)
        card[key] = found and {"path": path, "sha256": found.sha256 or model_hash(found.path)}
    return card | {key: raw.get(key) for key in ("reference", "reward_model", "snapshot")}


def _save(model: Any, tokenizer: Any, run: RunDir, card: dict[str, Any]) -> Path:
    final, aside = run.path / "model", run.path / ".model.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    with quiet_peft():
        model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    (aside / "hone.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    return final
