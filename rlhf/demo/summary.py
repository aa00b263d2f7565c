"""What the demo shows at its end, for a person and for a program."""

import math
from collections import defaultdict
from typing import Any

import pyarrow.parquet as parquet

from annotation import intervals
from rlhf import generation
from rlhf.demo.raters import noise_ceiling, truth_accuracy
from rlhf.demo.utility import utility
from rlhf.models import Model, Round

NAMES = ("base", "sft", "dpo", "ppo")


def summarise(round: Round, seconds: float) -> dict[str, Any]:
    """The demo's result as one object, from the round's evaluation and the hidden utility, which the models keep."""
    models = dict(zip(NAMES, models_of(round), strict=True))
    truth = true_utilities(round)
    for model in models.values():
        model.figures = {**model.figures, "utility": truth[model.name]}
        model.save(update_fields=["figures"])
    figures = round.evaluation["policies"]
    result: dict[str, Any] = {}
    for name, model in models.items():
        measured = figures[model.name]
        result[name] = {
            "preferred": _preferred(measured, truth[model.name]["n"]),
            "utility": round_to(truth[model.name]["value"]),
            "kl": round_to(measured.get("kl") or 0.0),
            "length": round_to(measured["length"], 1),
        }
    return result | {"reward_accuracy": reward_accuracy(round), "seconds": round_to(seconds, 1)}


def true_utilities(round: Round) -> dict[str, dict[str, Any]]:
    """Mean hidden utility of each model's held-out answers, with a 95 % interval of the mean."""
    scores: dict[str, list[float]] = defaultdict(list)
    for row in generation.read(round.runs.get(part="evaluate").folder):
        scores[row["model"]].append(utility(row["prompt"], row["responses"][0]["text"]))
    return {name: _mean(values) for name, values in scores.items()}


def reward_accuracy(round: Round) -> dict[str, Any]:
    """Held-out accuracy of the reward model beside the `ceiling`: what the true utility reaches on the same judgements.

    The model keeps it, and the `average_ceiling`, which the known noise of the judges allows on average, where these
    are one draw: both figures of one draw are as lucky as it is, and their distance tells more than that of either to
    the average.
    """
    assert round.snapshot is not None and round.reward_model is not None
    rows = parquet.read_table(
        round.snapshot.folder / "eval.parquet", columns=["prompt", "chosen", "rejected"]
    ).to_pylist()
    pairs = [(row["prompt"], row["chosen"][-1]["content"], row["rejected"][-1]["content"]) for row in rows]
    accuracy = round.reward_model.figures["training"]["accuracy"]
    ceilings = {"ceiling": truth_accuracy(pairs), "average_ceiling": noise_ceiling(pairs)}
    round.reward_model.figures |= ceilings
    round.reward_model.save(update_fields=["figures"])
    measured = {key: round_to(accuracy[key]) for key in ("value", "low", "high", "n")}
    return measured | {"ceiling": round_to(ceilings["ceiling"])}


def table(result: dict[str, Any], round: Round) -> list[str]:
    """The same for a person, a line each."""
    lines = [f"{'':6}{'people prefer it to base':>30}{'true utility':>24}{'KL':>8}{'tokens':>9}"]
    for name, model in zip(NAMES, models_of(round), strict=True):
        row, truth = result[name], model.figures["utility"]
        preferred = row["preferred"]
        share = (
            f"{preferred['value']:.0%}  [{preferred['low']:.0%}, {preferred['high']:.0%}]" if name != "base" else "-"
        )
        worth = f"{truth['value']:.2f}  [{truth['low']:.2f}, {truth['high']:.2f}]"
        lines.append(f"{name:6}{share:>30}{worth:>24}{row['kl']:>8.2f}{row['length']:>9.1f}")
    assert round.reward_model is not None
    accuracy, average = result["reward_accuracy"], round.reward_model.figures["average_ceiling"]
    lines.append(
        f"Reward model: {accuracy['value']:.1%} of {accuracy['n']} held-out judgements"
        f" [{accuracy['low']:.1%}, {accuracy['high']:.1%}]; the true utility agrees with {accuracy['ceiling']:.1%} of"
        f" the same ones, and with {average:.1%} on average over the judges' noise."
    )
    return lines


def round_to(value: Any, digits: int = 4) -> Any:
    """A float to a few digits; anything else as it is."""
    return round(value, digits) if isinstance(value, float) else value


def models_of(of: Round) -> list[Model]:
    trained = {run.kind: run.model for run in of.runs.filter(part__startswith="policy-").select_related("model")}
    return [of.base_model, of.start_model, trained["dpo"], trained["ppo"]]


def _preferred(measured: dict[str, Any], n: int) -> dict[str, Any]:
    """The share that prefers a model to the base; the base against itself is a tie on every prompt."""
    if "preferred" not in measured:
        return {"value": 0.5, "low": 0.5, "high": 0.5, "n": n}
    return {key: round_to(measured["preferred"][key]) for key in ("value", "low", "high", "n")}


def _mean(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))
    half = intervals.Z * deviation / math.sqrt(len(values))
    return {"value": mean, "low": mean - half, "high": mean + half, "n": len(values)}
