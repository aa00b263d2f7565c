"""Every setting of run.json in words, from the fields that the engine checks it by. Standard library only."""

from __future__ import annotations

import dataclasses
from typing import Any

from training.params import PARAMS, defaults
from training.run_parts import Adapter, Hardware

SECTIONS: dict[str, type] = {"adapter": Adapter, "hardware": Hardware}
TOPICS = (*PARAMS, *SECTIONS)


def settings_of(topic: str) -> str:
    """What may stand in `params` of that kind of run, or in `adapter` or `hardware`: two lines for each setting."""
    kind = PARAMS.get(topic) or SECTIONS[topic]
    usual = defaults(topic) if topic in PARAMS else {}
    whole = defaults(topic, None) if topic in PARAMS else {}
    lines: list[str] = []
    for field in dataclasses.fields(kind):
        default = usual.get(field.name, field.default)
        words = f"{field.name} = {_shown(default)}"
        if field.name in whole and whole[field.name] != default:
            words += f" ({_shown(whole[field.name])} where all weights train)"
        bounds = _bounds(field.metadata)
        lines += [words + (f"   [{bounds}]" if bounds else ""), f"    {field.metadata['help']}"]
    return "\n".join(lines)


def _bounds(about: Any) -> str:
    if about.get("choices"):
        return " | ".join(about["choices"])
    low, high, unit = about.get("min"), about.get("max"), about.get("unit") or ""
    span = "" if low is None else f"{_shown(low)} to {_shown(high)}"
    return f"{span} {'' if unit == 'share' else unit}".strip()


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "empty"
    return (
        f"{value:.10g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
    )
