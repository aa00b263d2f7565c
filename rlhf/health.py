"""What a trainer should be told: sickness read from a run's metrics, its result beside trivial rules, and remedies."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhf.charts import smoothed
from rlhf.models import Run
from rlhf.run_charts import Rows, column
from rlhf.scales import Value

# What each failure code of the engine is called on a page.
CODES = {
    "config": "Settings refused",
    "data": "Data refused",
    "oom": "Out of memory",
    "nan": "Not a number",
    "disk": "Disk full",
    "gpu_lost": "GPU lost",
    "crash": "Crashed",
}
ENOUGH = 10  # logged steps before a trend is spoken of
GROWTH, COLLAPSE = 1.25, 0.5  # of the length at the start
UNFINISHED = 0.2  # share of answers that hit the length limit
CLIPPED = 0.4  # share of tokens held back by the clip range; healthy runs stay near 0.1 to 0.2
ENTROPY_LEFT = 0.4  # of the entropy at the start


@dataclass(frozen=True)
class Concern:
    """One thing worth a look: what, why, and the settings that a copy of the run would change."""

    title: str
    text: str
    tone: str = "warn"
    action: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def concerns_of(kind: str, rows: Rows, config: dict[str, Any], report: dict[str, Any] | None) -> list[Concern]:
    """What is worth a look in a run, gravest first."""
    found: list[Concern | None] = []
    if kind in Run.ROLLS_OUT and len(rows) >= ENOUGH:
        params = config.get("params") or {}
        found = [_kl(rows, params), _length(rows), _entropy(rows), _unfinished(rows, params), _clipped(rows, params)]
    if report:
        found += [_baseline(report.get("eval") or {}) if kind == Run.Kind.REWARD else None]
        said = {concern.title for concern in found if concern}
        found += [Concern(text, "") for text in report.get("warnings") or [] if text not in said]
    return [concern for concern in found if concern]


def remedy(error: dict[str, Any] | None, config: dict[str, Any]) -> Concern | None:
    """The failure of a run in words, with the settings that a second try should have when they are known."""
    if not error:
        return None
    code, hint = error.get("code", "crash"), error.get("hint") or ""
    settings: dict[str, Any] = {}
    if match := re.search(r"\bset (params\.\w+) to (\d+)", hint, re.IGNORECASE):
        settings = {match[1]: int(match[2])}
    elif code == "nan" and (rate := (config.get("params") or {}).get("learning_rate")):
        settings = {"params.learning_rate": float(f"{rate / 10:.2g}")}
    action = ""
    if settings:
        (key, value), *_ = settings.items()
        action = f"Copy with {key.removeprefix('params.').replace('_', ' ')} {value:g}"
    return Concern(CODES.get(code, code), error.get("message") or "", "bad", action, settings)


def against_baselines(report_eval: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows for the table and its pictures: the model's accuracy, then each trivial rule's on the same pairs."""
    named = (("This model", "accuracy"), ("Shorter wins", "baseline_shorter"), ("Longer wins", "baseline_longer"))
    return [
        {"name": name, **report_eval[key]}
        for name, key in named
        if (report_eval.get(key) or {}).get("value") is not None
    ]


def _kl(rows: Rows, params: dict[str, Any]) -> Concern | None:
    target, beta = params.get("kl_target"), params.get("beta") or 0.0
    points = smoothed(column(rows, "kl"))
    values = [(at, float(value)) for at, value in points if value is not None]
    if target is None or not values or values[-1][1] <= target:
        return None
    since = values[0][0]
    for at, value in reversed(values):
        if value <= target:
            break
        since = at
    now, rising = values[-1][1], _relation(rows, "kl", "reward")
    text = f"{now:.1f} now, target {target:g}."
    if rising is not None and rising > 0.3:
        text += " Reward rises with it: the policy may be chasing the reward model."
    higher = float(f"{beta * 1.6:.1g}") if beta else 0.05
    settings = {"params.beta": higher}
    return Concern(
        f"KL above target since step {since:,.0f}", text, action=f"Copy with β {higher:g}", settings=settings
    )


def _length(rows: Rows) -> Concern | None:
    points = [(at, float(value)) for at, value in smoothed(column(rows, "length")) if value is not None]
    if len(points) < ENOUGH:
        return None
    start, now = statistics.fmean(value for _, value in points[: max(3, len(points) // 10)]), points[-1][1]
    if not start or COLLAPSE <= now / start <= GROWTH:
        return None
    follows = _relation(rows, "length", "reward")
    if now > start:
        text = f"From {start:.0f} to {now:.0f} tokens."
        if follows is not None and follows > 0.3:
            text += f" Reward follows length at r = {follows:.2f}."
        text += " Check the samples for padding."
        return Concern(f"Answers grew {now / start - 1:.0%}", text)
    return Concern(
        f"Answers shrank {1 - now / start:.0%}",
        f"From {start:.0f} to {now:.0f} tokens. Check the samples for answers cut short.",
    )


def _entropy(rows: Rows) -> Concern | None:
    points = [float(value) for _, value in smoothed(column(rows, "entropy")) if value is not None]
    if len(points) < ENOUGH or not points[0] or points[-1] > ENTROPY_LEFT * points[0]:
        return None
    text = f"Entropy fell from {points[0]:.2f} to {points[-1]:.2f} nats. The answers may have become one answer."
    return Concern("Diversity is collapsing", text)


def _unfinished(rows: Rows, params: dict[str, Any]) -> Concern | None:
    points = [float(value) for _, value in smoothed(column(rows, "eos_rate")) if value is not None]
    if not points or 1 - points[-1] <= UNFINISHED:
        return None
    limit = params.get("max_new_tokens")
    text = f"They run into the limit of {limit:,} tokens." if limit else "They run into the length limit."
    return Concern(f"{1 - points[-1]:.0%} of the answers never end", text)


def _clipped(rows: Rows, params: dict[str, Any]) -> Concern | None:
    points = [float(value) for _, value in smoothed(column(rows, "clip_fraction")) if value is not None]
    if not points or points[-1] <= CLIPPED:
        return None
    rate = params.get("learning_rate")
    text = f"{points[-1]:.0%} of the tokens are held back by the clip range; a smaller learning rate would waste less."
    if not rate:
        return Concern("Steps are too large", text)
    half = float(f"{rate / 2:.2g}")
    return Concern("Steps are too large", text, action=f"Copy with {half:g}", settings={"params.learning_rate": half})


def _baseline(report_eval: dict[str, Any]) -> Concern | None:
    """A reward model that does not beat "shorter wins" or "longer wins" has learned no more than length."""
    found = against_baselines(report_eval)
    if len(found) < 2 or found[0]["name"] != "This model":
        return None
    model, *rules = found
    best = max(rules, key=lambda rule: rule["value"])
    beaten, rule = model["value"], best["name"].lower()
    text = (
        f"It orders {beaten:.1%} of the held-out pairs as people did ({_interval(model)}); "
        f"“{rule}” orders {best['value']:.1%} ({_interval(best)})."
    )
    if beaten < best["value"]:
        return Concern(f"This model loses to the rule “{rule}”", text, "bad")
    over = report_eval.get("over_baseline") or {"low": model.get("low", beaten) - best["value"]}
    if over["low"] <= 0:
        return Concern(f"Not clearly better than “{rule}”", text)
    return None


def _interval(estimate: dict[str, Any]) -> str:
    return f"95% interval {estimate.get('low', estimate['value']):.1%} to {estimate.get('high', estimate['value']):.1%}"


def _relation(rows: Rows, first: str, second: str) -> float | None:
    """Pearson's r between two metrics over the logged steps."""
    pairs = _both(column(rows, first), column(rows, second))
    if len(pairs) < ENOUGH:
        return None
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if len(set(left)) == 1 or len(set(right)) == 1:
        return None
    return statistics.correlation(left, right)


def _both(first: Sequence[tuple[float, Value]], second: Sequence[tuple[float, Value]]) -> list[tuple[float, float]]:
    other = dict(second)
    return [
        (float(value), float(match))
        for at, value in first
        if value is not None and (match := other.get(at)) is not None
    ]
