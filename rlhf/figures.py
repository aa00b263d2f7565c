"""The figures of a registered model, read from wherever they were measured, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from rlhf.models import Model, Run, Snapshot

Estimate = dict[str, Any]  # {"value", "low", "high", "n"}


@dataclass(frozen=True)
class Figures:
    """What is known about a model; None where nobody measured it."""

    preferred: Estimate | None = None  # share of prompts on which people prefer it to the base
    utility: Estimate | None = None  # true utility, known only where the raters are simulated
    reward: Estimate | None = None
    kl: Estimate | None = None
    length: Estimate | None = None
    accuracy: Estimate | None = None  # of a reward model, on held-out pairs
    shorter: Estimate | None = None
    longer: Estimate | None = None
    ceiling: float | None = None  # what a rater who knows the true utility would reach


def of(model: Model) -> Figures:
    """The figures of `model`: people's comparisons first, then evaluate runs, then what training reported."""
    kept = model.figures or {}
    evaluation, training = kept.get("evaluation") or {}, kept.get("training") or {}

    def look(name: str, *places: dict[str, Any]) -> Estimate | None:
        return next((found for place in places if (found := estimate(place.get(name)))), None)

    accuracy = look("accuracy", kept, training)
    ceiling = kept.get("ceiling", (accuracy or {}).get("ceiling"))
    return Figures(
        preferred=look("preferred", kept),
        utility=look("utility", kept),
        reward=look("reward", kept, evaluation, training),
        kl=look("kl", kept, evaluation, training),
        length=look("length", kept, evaluation, training),
        accuracy=accuracy if model.role == Model.Role.REWARD else None,
        shorter=look("baseline_shorter", kept, training),
        longer=look("baseline_longer", kept, training),
        ceiling=ceiling if isinstance(ceiling, int | float) else None,
    )


def estimate(value: Any) -> Estimate | None:
    """`value` as an estimate; a plain number has no interval."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return {"value": float(value)}
    if isinstance(value, dict) and isinstance(value.get("value"), int | float):
        return {key: one for key, one in value.items() if one is not None}
    return None


def simulated_share(rates: Iterable[dict[str, Any]]) -> float:
    """Of all comparisons behind these rates the share that simulated raters made."""
    known = [(row["simulated_share"], row.get("judgements", 1)) for row in rates if "simulated_share" in row]
    judged = sum(count for _, count in known)
    return sum(share * count for share, count in known) / judged if judged else 0.0


def simulated_words(share: float) -> str:
    """How much of the judging was done by simulated raters, said plainly."""
    if share <= 0:
        return ""
    if share >= 1:
        return gettext("All judgments are simulated")
    return gettext("%(share)s%% of the judgments are simulated") % {"share": simulated_percent(share)}


def simulated_percent(share: float) -> int:
    """The share in percent, which says 0 or 100 only where it is exactly that."""
    return round(share * 100) if share in (0, 1) else min(99, max(1, round(share * 100)))


def snapshot_behind(model: Model) -> Snapshot | None:
    """The judgements a model was made from: its run's snapshot, or the one its reward model learned from."""
    run: Run | None = model.run
    if run is None:
        return None
    if run.reward_model and run.reward_model.run and run.reward_model.run.snapshot:
        return run.reward_model.run.snapshot
    return run.snapshot
