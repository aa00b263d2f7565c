"""A run's figures as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlhf.models import Run

COLUMNS = ("preferred", "reward", "kl", "length", "eos_rate", "distinct_1", "n")


def summary(run: Run) -> list[str]:
    """The final figures of a training run, one a line, shares with their intervals."""
    lines = []
    for name, value in (run.outcome.get("eval") or {}).items():
        text = number(value)
        if text and not name.startswith("calibration"):
            lines.append(f"  {name.replace('_', ' ')}: {text}")
    return lines


def policy_table(run: Run | None, policies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line a policy in the order in which `run` answered, with those columns that any of them has.

    PostgreSQL does not keep the order of an object's keys, so the run file tells it.
    """
    if not policies or run is None:
        return []
    order = [policy["name"] for policy in run.config["params"]["policies"]]
    policies = {name: policies[name] for name in order if name in policies}
    columns = [name for name in COLUMNS if any(name in figures for figures in policies.values())]
    rows = [["policy", *columns]]
    rows += [[policy, *(number(figures.get(name)) for name in columns)] for policy, figures in policies.items()]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def number(value: Any) -> str:
    """`0.642`, or `0.642 (0.581 to 0.699, n 240)` for a figure with an interval; empty for what is neither."""
    if isinstance(value, Mapping):
        if value.get("value") is None or "low" not in value:
            return ""
        return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f}, n {value['n']})"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3f}"
