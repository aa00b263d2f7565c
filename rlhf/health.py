"""What a trainer should be told: sickness read from a run's metrics, its result beside trivial rules, and remedies."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext, gettext_noop

from rlhf.charts import smoothed
from rlhf.models import Run
from rlhf.run_charts import Rows, column
from rlhf.scales import Value

# What each failure code of the engine is called on a page.
CODES = {
    "config": gettext_noop("Settings refused"),
    "data": gettext_noop("Data refused"),
    "oom": gettext_noop("Out of memory"),
    "nan": gettext_noop("Not a number"),
    "disk": gettext_noop("Disk full"),
    "gpu_lost": gettext_noop("GPU lost"),
    "crash": gettext_noop("Crashed"),
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
        action = gettext("Copy with %(key)s %(value)s") % {
            "key": key.removeprefix("params.").replace("_", " "),
            "value": f"{value:g}",
        }
    return Concern(gettext(CODES.get(code, code)), error.get("message") or "", "bad", action, settings)


def against_baselines(report_eval: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows for the table and its pictures: the model's accuracy, then each trivial rule's on the same pairs."""
    named = (
        (gettext("This model"), "accuracy"),
        (gettext("Shorter wins"), "baseline_shorter"),
        (gettext("Longer wins"), "baseline_longer"),
    )
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
    text = gettext("%(now)s now, target %(target)s.") % {"now": f"{now:.1f}", "target": f"{target:g}"}
    if rising is not None and rising > 0.3:
        text += " " + gettext("Reward rises with it: the policy may be chasing the reward model.")
    higher = float(f"{beta * 1.6:.1g}") if beta else 0.05
    settings = {"params.beta": higher}
    return Concern(
        gettext("KL above target since step %(since)s") % {"since": f"{since:,.0f}"},
        text,
        action=gettext("Copy with β %(higher)s") % {"higher": f"{higher:g}"},
        settings=settings,
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
        text = gettext("From %(start)s to %(now)s tokens.") % {"start": f"{start:.0f}", "now": f"{now:.0f}"}
        if follows is not None and follows > 0.3:
            text += " " + gettext("Reward follows length at r = %(follows)s.") % {"follows": f"{follows:.2f}"}
        text += " " + gettext("Check the samples for padding.")
        return Concern(gettext("Answers grew %(now)s") % {"now": f"{now / start - 1:.0%}"}, text)
    return Concern(
        gettext("Answers shrank %(value)s") % {"value": f"{1 - now / start:.0%}"},
        gettext("From %(start)s to %(now)s tokens. Check the samples for answers cut short.")
        % {"start": f"{start:.0f}", "now": f"{now:.0f}"},
    )


def _entropy(rows: Rows) -> Concern | None:
    points = [float(value) for _, value in smoothed(column(rows, "entropy")) if value is not None]
    if len(points) < ENOUGH or not points[0] or points[-1] > ENTROPY_LEFT * points[0]:
        return None
    text = gettext("Entropy fell from %(start)s to %(now)s nats. The answers may have become one answer.") % {
        "start": f"{points[0]:.2f}",
        "now": f"{points[-1]:.2f}",
    }
    return Concern(gettext("Diversity is collapsing"), text)


def _unfinished(rows: Rows, params: dict[str, Any]) -> Concern | None:
    points = [float(value) for _, value in smoothed(column(rows, "eos_rate")) if value is not None]
    if not points or 1 - points[-1] <= UNFINISHED:
        return None
    limit = params.get("max_new_tokens")
    text = (
        gettext("They run into the limit of %(limit)s tokens.") % {"limit": f"{limit:,}"}
        if limit
        else gettext("They run into the length limit.")
    )
    return Concern(gettext("%(value)s of the answers never end") % {"value": f"{1 - points[-1]:.0%}"}, text)


def _clipped(rows: Rows, params: dict[str, Any]) -> Concern | None:
    points = [float(value) for _, value in smoothed(column(rows, "clip_fraction")) if value is not None]
    if not points or points[-1] <= CLIPPED:
        return None
    rate = params.get("learning_rate")
    text = gettext(
        "%(share)s of the tokens are held back by the clip range; a smaller learning rate would waste less."
    ) % {"share": f"{points[-1]:.0%}"}
    if not rate:
        return Concern(gettext("Steps are too large"), text)
    half = float(f"{rate / 2:.2g}")
    return Concern(
        gettext("Steps are too large"),
        text,
        action=gettext("Copy with %(half)s") % {"half": f"{half:g}"},
        settings={"params.learning_rate": half},
    )


def _baseline(report_eval: dict[str, Any]) -> Concern | None:
    """A reward model that does not beat "shorter wins" or "longer wins" has learned no more than length."""
    found = against_baselines(report_eval)
    if len(found) < 2 or (report_eval.get("accuracy") or {}).get("value") is None:
        return None
    model, *rules = found
    best = max(rules, key=lambda rule: rule["value"])
    beaten, rule = model["value"], best["name"].lower()
    text = gettext(
        "It orders %(beaten)s of the held-out pairs as people did (%(interval)s); “%(rule)s” orders "
        "%(value)s (%(interval_2)s)."
    ) % {
        "beaten": f"{beaten:.1%}",
        "interval": _interval(model),
        "rule": rule,
        "value": f"{best['value']:.1%}",
        "interval_2": _interval(best),
    }
    if beaten < best["value"]:
        return Concern(gettext("This model loses to the rule “%(rule)s”") % {"rule": rule}, text, "bad")
    over = report_eval.get("over_baseline") or {"low": model.get("low", beaten) - best["value"]}
    if over["low"] <= 0:
        return Concern(gettext("Not clearly better than “%(rule)s”") % {"rule": rule}, text)
    return None


def _interval(estimate: dict[str, Any]) -> str:
    return gettext("95%% interval %(low)s to %(high)s") % {
        "low": f"{estimate.get('low', estimate['value']):.1%}",
        "high": f"{estimate.get('high', estimate['value']):.1%}",
    }


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
