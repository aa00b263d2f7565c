"""How a run can fail: the exceptions that the engine understands, and the words in which status.json tells them."""

from __future__ import annotations

import errno
import json
from pathlib import Path

from training.runfile import RunFileError


class RunError(Exception):
    """A failure that the engine understands: a status code and what to do about it."""

    code = "crash"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Diverged(RunError):
    """The loss or the gradient is no longer a number."""

    code = "nan"


class OutOfMemory(RunError):
    """A step wanted more memory than there is; the hint says what would fit."""

    code = "oom"


class Stopped(Exception):
    """The run was asked to stop and has left a checkpoint behind."""


def describe_error(error: BaseException, path: Path) -> dict[str, str]:
    """What status.json says about a failure: `{"code", "message", "hint"}`."""
    text = str(error) or type(error).__name__
    first, low = text.splitlines()[0], text.lower()
    if isinstance(error, RunFileError):
        return {"code": "config", "message": text, "hint": f"Change {error.field or 'run.json'} and run again."}
    if isinstance(error, RunError):
        return {"code": error.code, "message": text, "hint": error.hint}
    if is_out_of_memory(error):
        return {"code": "oom", "message": f"Out of memory: {first}", "hint": _smaller_batch(path)}
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "no space left on device" in low:
        hint = "Free some space and resume; the last checkpoint is kept."
        return {"code": "disk", "message": "The disk is full.", "hint": hint}
    lost = "AcceleratorError" in _classes(error) or "cuda error" in low or "no cuda-capable device" in low
    if lost and "device-side assert" not in low:
        return {"code": "gpu_lost", "message": first, "hint": "Check the GPU (nvidia-smi) and resume."}
    return {"code": "crash", "message": f"{type(error).__name__}: {first}", "hint": "log.txt has the traceback."}


def is_out_of_memory(error: BaseException) -> bool:
    low = str(error).lower()
    named = _classes(error) & {"MemoryError", "OutOfMemoryError"}
    return bool(named) or "can't allocate memory" in low or "not enough memory" in low


def _classes(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}  # by name, because torch must not load here


def _smaller_batch(path: Path) -> str:
    """The setting to lower and the value to try; halving frees at least half of the activations, which dominate."""
    try:
        params = json.loads((path / "run.json").read_text("utf-8")).get("params") or {}
    except (OSError, ValueError):
        params = {}
    for name in ("minibatch", "batch_size", "rollout_batch"):
        if isinstance(params.get(name), int) and params[name] > 1:
            return f"Set params.{name} to {params[name] // 2} (it is {params[name]}) and run again."
    for name in ("max_length", "max_new_tokens", "context"):
        if isinstance(params.get(name), int) and params[name] > 16:
            return (
                f"The batch is as small as it gets: set params.{name} to {params[name] // 2}, or take a smaller model."
            )
    return "Set params.batch_size to half of what it was and run again."
