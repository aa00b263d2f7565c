"""A model of a few thousand weights and snapshots of a few rows, for runs that take seconds."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pyarrow
import pyarrow.parquet
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = "please thank you where is my parcel order late refund money back sorry we send it today".split()  # noqa: SIM905


@pytest.fixture(autouse=True)
def engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine without a registry: any local path is fine. Two cores are shared with other tests."""
    import torch

    monkeypatch.delenv("HONE_DATA", raising=False)
    monkeypatch.setattr(jinja2, "Template", _template)
    torch.set_num_threads(1)


_template = cache(jinja2.Template)  # PEFT compiles the template of its card for every adapter that it saves


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama (2 layers, width 32) with a byte-level BPE tokenizer, a chat template, and pad ≠ eos."""
    folder = tmp_path_factory.mktemp("tiny-model")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny_llama(tokenizer).save_pretrained(folder)
    return folder


def tiny_tokenizer(template: str | None = CHATML) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer.from_str(_trained())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<|pad|>", eos_token="<|im_end|>")
    tokenizer.chat_template = template
    return tokenizer


@cache
def _trained() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([" ".join(WORDS)] * 4 + ["user", "assistant", "system"], trainer)
    return str(inner.to_str())


def tiny_llama(tokenizer: Any, seed: int = 0) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write_snapshot(folder: Path, kind: str, train: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> Path:
    """A snapshot directory as the contract draws it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, rows in (("train", train), ("eval", held_out)):
        path = folder / f"{split}.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        files[path.name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest = {"kind": kind, "files": files, "content_hash": hashlib.sha256(json.dumps(files).encode()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def question(number: int) -> str:
    return " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 4 + number % 5)) + f" {number}"


def demonstrations(count: int, first: int = 0) -> list[dict[str, Any]]:
    rows = range(first, first + count)
    return [{"prompt": [user(question(n))], "completion": [assistant("sorry, " + question(n + 1))]} for n in rows]


def preferences(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Polite answers are preferred to curt ones, which a model can learn from a few rows; lengths do not tell."""
    return [
        {
            "prompt": [user(question(n))],
            "chosen": [assistant("thank you, " + question(n + 1 + n % 2))],
            "rejected": [assistant("money, " + question(n + 2 - n % 2))],
            "margin": 1.0 + n % 3,
            "agreement": 1.0,
            "weight": 1.0 + n % 2,
            "task_id": n,
        }
        for n in range(first, first + count)
    ]


@pytest.fixture(scope="session")
def demonstration_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 demonstrations to learn from and 8 held out."""
    folder = tmp_path_factory.mktemp("snapshots") / "demonstrations"
    return write_snapshot(folder, "sft", demonstrations(48), demonstrations(8, first=100))


@pytest.fixture(scope="session")
def tiny_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 preference pairs to learn from and 16 held out."""
    folder = tmp_path_factory.mktemp("snapshots") / "preferences"
    return write_snapshot(folder, "preference", preferences(48), preferences(16, first=100))


def judged(count: int, first: int = 0) -> list[dict[str, Any]]:
    """The same answers one by one, polite ones wanted and curt ones not; a third are unwanted."""
    rows = preferences(count, first)
    sides = [("chosen", True) if n % 3 else ("rejected", False) for n in range(count)]
    return [
        {"prompt": row["prompt"], "completion": row[side], "label": label}
        for row, (side, label) in zip(rows, sides, strict=True)
    ]


@pytest.fixture(scope="session")
def binary_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 judged answers to learn from and 18 held out."""
    folder = tmp_path_factory.mktemp("snapshots") / "binary"
    return write_snapshot(folder, "binary", judged(48), judged(18, first=100))


LORA = {"method": "lora", "r": 4, "alpha": 8}


@pytest.fixture
def make_run(tmp_path: Path, tiny_model_dir: Path) -> Callable[..., Path]:
    """Writes run.json into a new run directory and returns the directory."""

    def make(kind: str, name: str | None = None, *, params: dict[str, Any] | None = None, **keys: Any) -> Path:
        folder = tmp_path / (name or kind)
        folder.mkdir()
        data = {"schema": 1, "kind": kind, "name": folder.name, "seed": 7, "base_model": {"path": str(tiny_model_dir)}}
        data |= {"params": params or {}, "hardware": {"device": "cpu", "threads": 1}} | keys
        data = {key: {"path": str(value)} if isinstance(value, Path) else value for key, value in data.items()}
        (folder / "run.json").write_text(json.dumps(data))
        return folder

    return make
