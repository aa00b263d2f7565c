"""Rows and folders of the loop for tests, with the fewest words."""

import json
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings

from annotation.models import Project
from rlhf import registry, runs
from rlhf.models import Model, Run, Snapshot

_number = count(1)


def weights(folder: Path, content: bytes = b"weights", **config: Any) -> Path:
    """A folder that looks like a model; nothing loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]} | config))
    return folder


def adapter(folder: Path, content: bytes = b"adapter", **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(content)
    saved = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(saved | config))
    return folder


def model(name: str | None = None, **fields: Any) -> Model:
    name = name or f"model-{next(_number)}"
    folder = Path(settings.HONE_DATA) / "cache" / f"{name}-{next(_number)}"
    source = adapter(folder, name.encode()) if fields.get("parent") else weights(folder, name.encode())
    return registry.register_folder(name, source, **fields)


def snapshot(project: Project, type: str = "preference") -> Snapshot:
    """A row whose folder only has a manifest."""
    number = next(_number)
    fields = {"name": f"snapshot-{number}", "type": type, "content_hash": f"{number:064d}"}
    made = Snapshot.objects.create(project=project, path=f"snapshots/{number:016d}", **fields)
    made.folder.mkdir(parents=True, exist_ok=True)
    (made.folder / "manifest.json").write_text(json.dumps({"content_hash": made.content_hash, "files": {}}))
    return made


def run(project: Project, kind: str = "reward", **options: Any) -> Run:
    options.setdefault("start_model", model())
    if kind in ("sft", "reward", "dpo"):
        options.setdefault("snapshot", snapshot(project, "sft" if kind == "sft" else "preference"))
    if kind in ("generate", "ppo"):
        options.setdefault("prompts", [{"id": "1", "prompt": [{"role": "user", "content": "Hello?"}]}])
    return runs.create(project, kind, **options)
