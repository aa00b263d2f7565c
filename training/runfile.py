"""run.json: read, checked and written. Standard library only, so that a bad file is refused before torch loads."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import compatibility
from training.fields import RunFileError, checked, param
from training.params import PARAMS, REFERENCE_FREE, defaults

__all__ = [
    "PARAMS",
    "Adapter",
    "Hardware",
    "ModelRef",
    "PolicyRef",
    "RunFile",
    "RunFileError",
    "SnapshotRef",
    "check",
    "compatibility",
    "defaults",
    "model_hash",
    "needs_reference",
    "read",
    "weight_files",
    "with_overrides",
    "write",
]

SCHEMA = 1
TEMPLATES = ("plain", "chatml")
# What each kind cannot run without, and what would be ignored and is therefore refused.
NEEDS = {
    "pretrain": (),
    "sft": ("base_model", "snapshot"),
    "reward": ("base_model", "snapshot"),
    "dpo": ("base_model", "snapshot"),
    "kto": ("base_model", "snapshot"),
    "ppo": ("base_model", "reward_model"),
    "grpo": ("base_model",),
    "rloo": ("base_model",),
    "best_of_n": ("base_model", "reward_model"),
    "merge": ("base_model", "start_adapter"),
    "generate": ("base_model",),
    "evaluate": (),
}
ROLLED = {"base_model", "start_adapter", "adapter", "reference", "reward_model", "snapshot", "prompts", "template"}
TAKES = {
    "pretrain": set(),
    "sft": {"base_model", "start_adapter", "adapter", "snapshot", "template"},
    "reward": {"base_model", "start_adapter", "adapter", "snapshot", "template"},
    "dpo": {"base_model", "start_adapter", "adapter", "reference", "snapshot", "template"},
    "kto": {"base_model", "start_adapter", "adapter", "reference", "snapshot", "template"},
    "ppo": ROLLED,
    **dict.fromkeys(("grpo", "rloo"), ROLLED),
    "best_of_n": {"base_model", "start_adapter", "reward_model", "snapshot", "prompts", "template"},
    "merge": {"base_model", "start_adapter", "template"},
    "generate": {"base_model", "start_adapter", "reward_model", "snapshot", "prompts", "template"},
    "evaluate": {"base_model", "reward_model", "snapshot", "prompts", "template"},
}


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    path: Path
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class SnapshotRef:
    path: Path
    hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyRef:
    """One policy of an evaluate run; KL is measured to the policy named `reference`."""

    name: str
    base_model: ModelRef
    adapter: ModelRef | None = None
    reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What is trained in place of the weights. `compatibility.FIELDS` says which settings belong to which method."""

    method: str = param(
        "lora",
        "Adapter",
        "A small trained addition to frozen weights.",
        group="Adapter",
        choices=compatibility.METHODS,
    )
    # r 16, alpha 32: PEFT's and the QLoRA paper's usual alpha = 2 r; all-linear: QLoRA, section 4.
    r: int = param(16, "Rank", "Size of the adapter.", group="Adapter", min=1, max=4096)
    alpha: int | float = param(
        32, "Alpha", "The adapter's output is scaled by alpha / rank.", group="Adapter", min=0.001, max=65536
    )
    dropout: float = param(
        0.0, "Dropout", "Share of adapter inputs dropped while training.", group="Adapter", min=0.0, max=0.9
    )
    targets: str | list[str] = param("all-linear", "Layers", "Or a list of layer names.", group="Adapter")  # noqa: RUF009
    # 4: Dettmers et al. (2023), NF4 with double quantisation.
    bits: int = param(4, "Bits", "Of a frozen weight, 4 or 8 (QLoRA).", group="Adapter", min=4, max=8)
    # Two thirds of the first rank, Zhang et al. (2023), section 4.1, whole: 12 to 8 in PEFT.
    target_r: int | None = param(
        None,
        "Final rank",
        "Mean rank that AdaLoRA keeps; empty: two thirds of the rank.",
        group="Adapter",
        min=1,
        max=4095,
    )
    # 20: Lester et al. (2021), figure 3b: more brings little.
    virtual_tokens: int = param(
        20, "Trained positions", "In front of every row (prefix, prompt, P-tuning).", group="Adapter", min=1, max=4096
    )
    # 64: Houlsby et al. (2019), section 3.2 and table 1.
    bottleneck: int = param(64, "Bottleneck", "Width between the two small layers.", group="Adapter", min=1, max=65536)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            known = field.name == "method" or field.name in compatibility.FIELDS[self.method]
            if not known and getattr(self, field.name) != field.default:
                raise RunFileError(f"adapter.{field.name}", f"has no meaning for {self.method}; leave it out")
        if self.bits not in (4, 8):
            raise RunFileError("adapter.bits", f"must be 4 or 8, got {self.bits}")
        if self.method == "adalora" and self.r < 2:
            raise RunFileError("adapter.r", "must be at least 2 for adalora, which has ranks to take away")
        if self.target_r is not None and self.target_r >= self.r:
            raise RunFileError("adapter.target_r", f"must be below adapter.r {self.r}, got {self.target_r}")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    device: str = param(
        "auto", "Device", "auto takes a GPU when there is one.", group="Hardware", choices=("auto", "cpu", "cuda")
    )
    threads: int = param(0, "Threads", "0: as many as there are cores.", group="Hardware", min=0, max=1024)
    dtype: str = param(
        "auto",
        "Number format",
        "auto: bfloat16 on a GPU that has it, else float32.",
        group="Hardware",
        choices=("auto", "float32", "bfloat16"),
    )


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A checked run file: every path absolute, every setting present."""

    kind: str
    name: str
    seed: int
    base_model: ModelRef | None
    start_adapter: ModelRef | None
    adapter: Adapter | None
    reference: str | None
    reward_model: ModelRef | None
    snapshot: SnapshotRef | None
    prompts: str | None
    template: str | None
    params: Any
    hardware: Hardware
    raw: dict[str, Any] = dataclasses.field(repr=False, compare=False)


KEYS = {"schema"} | {field.name for field in dataclasses.fields(RunFile)} - {"raw"}


def read(path: Path | str) -> RunFile:
    """The checked run file at `path`."""
    try:
        data = json.loads(Path(path).read_text("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except OSError as error:
        raise RunFileError("run.json", f"cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RunFileError("run.json", f"is not JSON: {error}") from error
    return check(data)


def write(path: Path | str, data: dict[str, Any], *, root: Path | None = None) -> RunFile:
    """Check `data` and store it; a reader sees the old file or the new one, never half of it."""
    config = check(data, root=root)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    return config


def check(data: Any, *, root: Path | None = None) -> RunFile:
    """`data` as a RunFile, or RunFileError naming the first bad key.

    `root` is the registry that every path must lie in; by default $HONE_DATA, and any local path is fine without it.
    """
    if not isinstance(data, dict):
        raise RunFileError("run.json", "must hold one JSON object")
    _refuse_remote_code(data)
    for key in data:
        if key not in KEYS:
            raise RunFileError(key, f"is not a key of run.json; known: {', '.join(sorted(KEYS))}")
    if data.get("schema", SCHEMA) != SCHEMA:
        raise RunFileError("schema", f"must be {SCHEMA}, got {data['schema']!r}")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in PARAMS:
        raise RunFileError("kind", f"must be one of {', '.join(PARAMS)}, got {kind!r}")
    _check_needs(kind, data)
    if root is None and os.environ.get("HONE_DATA"):
        root = Path(os.environ["HONE_DATA"])
    adapter = None if data.get("adapter") is None else checked(Adapter, _object(data, "adapter"), "adapter")
    _check_targets(adapter)
    config = RunFile(
        kind=kind,
        name=_text(data, "name") or kind,
        seed=_seed(data),
        base_model=_model(data.get("base_model"), "base_model", root),
        start_adapter=_model(data.get("start_adapter"), "start_adapter", root),
        adapter=adapter,
        reference=_text(data, "reference"),
        reward_model=_model(data.get("reward_model"), "reward_model", root),
        snapshot=_snapshot(data.get("snapshot"), root),
        prompts=_file_name(data, "prompts"),
        template=_file_name(data, "template"),
        params=_params(kind, data, adapter, root),
        hardware=checked(Hardware, _object(data, "hardware"), "hardware"),
        raw=copy.deepcopy(data),
    )
    _check_together(config)
    return config


def with_overrides(data: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of `data` with `key.key=value` settings applied; values are JSON, or else plain text."""
    result = copy.deepcopy(data)
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        if not equals or not dotted.strip():
            raise RunFileError(setting, "must look like key.key=value, for example params.beta=0.2")
        *parents, last = dotted.strip().split(".")
        target = result
        for key in parents:
            if target.get(key) is None:
                target[key] = {}
            target = target[key]
            if not isinstance(target, dict):
                raise RunFileError(dotted, f"cannot be set: {key} holds a single value")
        try:
            target[last] = json.loads(text)
        except json.JSONDecodeError:
            target[last] = text
    return result


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def model_hash(folder: Path | str) -> str:
    """One sha256 over a model's weight files; equal to `sha256sum *.safetensors | sha256sum` run in the folder."""
    whole = hashlib.sha256()
    for path in weight_files(Path(folder)):
        whole.update(f"{file_hash(path)}  {path.name}\n".encode())
    return whole.hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of one file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise RunFileError(key, "appears twice in run.json")
        result[key] = value
    return result


def _no_constant(name: str) -> None:
    raise RunFileError("run.json", f"holds {name}, which is not a JSON number")


def _refuse_remote_code(value: Any, where: str = "") -> None:
    items: Iterable[tuple[Any, Any]] = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        dotted = f"{where}.{key}" if where else str(key)
        if key == "trust_remote_code":
            raise RunFileError(dotted, "is refused: Hone never runs code that comes with a model")
        _refuse_remote_code(inner, dotted)


def _check_needs(kind: str, data: dict[str, Any]) -> None:
    for key in NEEDS[kind]:
        if data.get(key) is None:
            raise RunFileError(key, f"is required for a {kind} run")
    everywhere = {"schema", "kind", "name", "seed", "params", "hardware"}
    for key, value in data.items():
        if key not in TAKES[kind] | everywhere and value is not None:
            raise RunFileError(key, f"has no meaning in a {kind} run; leave it out")


def _check_together(config: RunFile) -> None:
    if config.reference not in (None, "base", "start_adapter"):
        raise RunFileError("reference", f"must be base or start_adapter, got {config.reference!r}")
    _check_reference(config)
    _check_adapter(config)
    _check_rule(config)
    if config.reference == "start_adapter" and config.start_adapter is None:
        raise RunFileError("start_adapter", "is required when reference is start_adapter")
    if config.start_adapter and not config.adapter and config.kind in compatibility.TRAINERS:
        raise RunFileError("adapter", "is required with start_adapter: what starts as an adapter is trained as one")
    if "prompts" in TAKES[config.kind] and not config.prompts and not config.snapshot:
        raise RunFileError("prompts", f"is required for a {config.kind} run without a snapshot")


def needs_reference(kind: str, params: Mapping[str, Any]) -> bool:
    """Whether such a run measures drift, and so must name what it drifts from."""
    return "reference" in TAKES[kind] and params.get("loss") not in REFERENCE_FREE


def _check_reference(config: RunFile) -> None:
    needed = needs_reference(config.kind, {"loss": getattr(config.params, "loss", None)})
    if needed and config.reference is None:
        raise RunFileError("reference", f"is required for a {config.kind} run")
    if not needed and config.reference is not None:
        loss = config.params.loss
        raise RunFileError("reference", f"has no meaning with the {loss} loss, which compares with none; leave it out")


def _check_rule(config: RunFile) -> None:
    if not hasattr(config.params, "rule"):
        return
    if config.reward_model is None and config.params.rule is None:
        raise RunFileError("reward_model", f"or params.rule is required for a {config.kind} run")
    if config.reward_model is not None and config.params.rule is not None:
        raise RunFileError("params.rule", "and a reward model cannot both score the answers; leave one out")


def _check_adapter(config: RunFile) -> None:
    """Refuse an adapter that this kind of run, or this machine, cannot train."""
    if config.kind not in compatibility.TRAINERS:
        return
    method = config.adapter.method if config.adapter else None
    if reason := compatibility.refusal(config.kind, method):
        raise RunFileError("adapter.method" if method else "adapter", reason)
    if method == "qlora" and config.hardware.device == "cpu":
        raise RunFileError(
            "adapter.method",
            "is qlora, whose 4 and 8 bit weights need an NVIDIA GPU, and hardware.device is cpu; "
            "the nearest that works is lora, with hardware.dtype bfloat16 for half the memory",
        )


def _check_targets(adapter: Adapter | None) -> None:
    targets = adapter.targets if adapter else "all-linear"
    named = isinstance(targets, list) and targets and all(isinstance(each, str) and each for each in targets)
    if targets != "all-linear" and not named:
        raise RunFileError("adapter.targets", f"must be all-linear or a list of layer names, got {targets!r}")


def _params(kind: str, data: dict[str, Any], adapter: Adapter | None, root: Path | None) -> Any:
    values = defaults(kind, adapter.method if adapter else None) | _object(data, "params")
    params = checked(PARAMS[kind], values)
    if kind == "pretrain":
        _file_name(values, "corpus", "params.")
    if kind == "evaluate":
        return dataclasses.replace(params, policies=_policies(params.policies, root))
    return params


def _policies(entries: Any, root: Path | None) -> tuple[PolicyRef, ...]:
    if not isinstance(entries, list | tuple) or not entries:
        raise RunFileError("params.policies", "must be a list with at least one policy")
    policies = []
    for index, entry in enumerate(entries):
        where = f"params.policies[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise RunFileError(f"{where}.name", "is required: every policy is an object with a name")
        for key in entry:
            if key not in ("name", "base_model", "adapter", "reference"):
                raise RunFileError(
                    f"{where}.{key}", "is not a key of a policy; known: name, base_model, adapter, reference"
                )
        base = _model(entry.get("base_model"), f"{where}.base_model", root)
        if base is None:
            raise RunFileError(f"{where}.base_model", "is required")
        adapter = _model(entry.get("adapter"), f"{where}.adapter", root)
        policies.append(
            PolicyRef(name=entry["name"], base_model=base, adapter=adapter, reference=entry.get("reference"))
        )
    names = [policy.name for policy in policies]
    if len(set(names)) < len(names):
        raise RunFileError("params.policies", "must have different names")
    for index, policy in enumerate(policies):
        if policy.reference is not None and policy.reference not in names:
            raise RunFileError(
                f"params.policies[{index}].reference", f"names {policy.reference!r}, which is not one of the policies"
            )
    return tuple(policies)


def _object(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if value is not None and not isinstance(value, dict):
        raise RunFileError(key, f"must be an object, got {value!r}")
    return value or {}


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise RunFileError(key, f"must be text, got {value!r}")
    return value


def _seed(data: dict[str, Any]) -> int:
    seed = data.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise RunFileError("seed", f"must be a whole number from 0 to {2**32 - 1}, got {seed!r}")
    return seed


def _file_name(data: dict[str, Any], key: str, prefix: str = "") -> str | None:
    name = _text(data, key)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise RunFileError(prefix + key, f"must be the name of a file inside the run directory, got {name!r}")
    return name


def _model(value: Any, field: str, root: Path | None) -> ModelRef | None:
    if value is None:
        return None
    entry = _reference(value, field, "sha256")
    return ModelRef(path=_path(entry["path"], f"{field}.path", root), sha256=entry.get("sha256"))


def _snapshot(value: Any, root: Path | None) -> SnapshotRef | None:
    if value is None:
        return None
    entry = _reference(value, "snapshot", "hash")
    return SnapshotRef(path=_path(entry["path"], "snapshot.path", root), hash=entry.get("hash"))


def _reference(value: Any, field: str, hash_key: str) -> dict[str, Any]:
    entry = {"path": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise RunFileError(f"{field}.path", "is required")
    for key in entry:
        if key not in ("path", hash_key):
            raise RunFileError(f"{field}.{key}", f"is not a key of {field}; known: path, {hash_key}")
    if entry.get(hash_key) is not None and not isinstance(entry[hash_key], str):
        raise RunFileError(f"{field}.{hash_key}", f"must be text, got {entry[hash_key]!r}")
    return entry


def _path(text: str, field: str, root: Path | None) -> Path:
    if "\0" in text:
        raise RunFileError(field, "holds a NUL character")
    base = Path(os.path.normpath((root or Path()).absolute()))
    path = Path(os.path.normpath(base / text))  # not resolve(): a model may be linked into the registry
    if root and not path.is_relative_to(base):
        raise RunFileError(field, f"is outside the registry {base}: {text}")
    return path
