"""Dataclass fields that carry what a form needs to ask for them, and the check of values against them."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any


class RunFileError(ValueError):
    """A run file that cannot be run; `field` is the dotted key to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}" if field else message)
        self.field = field


def param(
    default: Any,
    label: str,
    help: str,
    *,
    group: str,
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
    full: Any = None,
) -> Any:
    """A field with what a form needs to ask for it; `full` is the default when all weights train, not an adapter."""
    metadata: dict[str, Any] = {"label": label, "help": help, "group": group, "min": min, "max": max}
    metadata |= {"choices": choices, "unit": unit, "full": full}
    return dataclasses.field(default=default, metadata=metadata)


def checked(kind: type, values: dict[str, Any], where: str = "params") -> Any:
    """An instance of the dataclass `kind` built from `values`, or RunFileError naming the bad key."""
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name in values:
        if name not in known:
            raise RunFileError(f"{where}.{name}", f"is not a setting of this kind of run; known: {', '.join(known)}")
    return kind(
        **{name: _value(f"{where}.{name}", value, hints[name], known[name].metadata) for name, value in values.items()}
    )


def _value(where: str, value: Any, hint: Any, metadata: typing.Mapping[str, Any]) -> Any:
    accepted = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    accepted = {typing.get_origin(each) or each for each in accepted}
    if value is None and type(None) in accepted:
        return None
    if float in accepted and type(value) is int:
        value = float(value)
    if float in accepted and int in accepted and isinstance(value, float) and value.is_integer():
        value = int(value)
    simple = {each for each in accepted if each in (int, float, str, bool, list)}
    if simple and type(value) not in simple:
        names = " or ".join(sorted(each.__name__ for each in simple))
        raise RunFileError(where, f"must be of type {names}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RunFileError(where, f"must be a finite number, got {value!r}")
    if metadata.get("choices") and value not in metadata["choices"]:
        raise RunFileError(where, f"must be one of {', '.join(metadata['choices'])}, got {value!r}")
    low, high = metadata.get("min"), metadata.get("max")
    if low is not None and value < low:
        raise RunFileError(where, f"must be at least {low}, got {value!r}")
    if high is not None and value > high:
        raise RunFileError(where, f"must be at most {high}, got {value!r}")
    return value
