"""How good a reward model is on held-out judgements, beside what the length of the answers alone would say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from training import reports

NOTHING_HELD_OUT = "The snapshot has no held-out rows: nothing says how accurate this reward model is."


def judged(
    leads: Sequence[float], shorter: Sequence[float], groups: Sequence[Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """(held-out figures, warnings) of pairs: accuracy and calibration, beside the rules that go by length.

    `leads`: by how much each better answer leads; `shorter`: by how many letters it is the shorter one. `groups` says
    which pairs come from one ranking or show the same answers: they count once, for they are not independent.
    """
    groups = range(len(leads)) if groups is None else groups
    chances = [1 / (1 + math.exp(-max(-500.0, min(500.0, lead)))) for lead in leads]
    right = [1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0 for p in chances]
    ece, bins = reports.calibration([max(p, 1 - p) for p in chances], right)
    longer = [-lead for lead in shorter]
    figures: dict[str, Any] = {
        "accuracy": accuracy(leads, groups),
        "loss": pair_loss(leads),
        "ece": ece,
        "calibration": bins,
        "baseline_shorter": accuracy(shorter, groups),
        "baseline_longer": accuracy(longer, groups),
    }
    rules = (("shorter", shorter), ("longer", longer))
    name, rule = max(rules, key=lambda each: accuracy(each[1], groups)["value"])
    figures["over_baseline"] = {"baseline": name} | reports.paired(_right(leads, groups), _right(rule, groups))
    return figures, _compared(figures)


def accuracy(leads: Sequence[float], groups: Sequence[Any] | None = None) -> dict[str, Any]:
    """How often the better answer leads, ties counting half."""
    found = _right(leads, range(len(leads)) if groups is None else groups)
    return reports.wilson(sum(found), len(found))


def pair_loss(leads: Sequence[float]) -> float:
    """The Bradley-Terry loss of some leads."""
    return -F.logsigmoid(torch.tensor(leads, dtype=torch.float64)).mean().item()


def agreement(leads: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What an ensemble knows of its own doubt: `leads` are those of each pair, by member.

    `sure`: how often it is right where all members say the same; `split`: the share of pairs where they do not.
    """
    united = [each for each in leads if all(lead > 0 for lead in each) or all(lead < 0 for lead in each)]
    sure = reports.wilson(sum(each[0] > 0 for each in united), len(united))
    return {"members": len(leads[0]), "split": 1 - len(united) / len(leads)} | ({"sure": sure} if united else {})


def rated(
    predicted: torch.Tensor, given: torch.Tensor, middle: Sequence[float], names: Sequence[str]
) -> dict[str, Any]:
    """Per aspect the squared error beside that of always saying `middle`, and the correlation.

    `predicted`, `given` are (N, A) in units of the ratings, NaN where nobody rated.
    """
    found = {}
    for place, name in enumerate(names):
        known = ~given[:, place].isnan()
        ours, theirs = predicted[known, place].double(), given[known, place].double()
        if not len(theirs):
            continue
        both = torch.stack([ours, theirs])
        varied = len(theirs) > 1 and bool((both.std(dim=1) > 1e-9).all())
        found[name] = {
            "squared_error": ((ours - theirs) ** 2).mean().item(),
            "of_the_mean": ((middle[place] - theirs) ** 2).mean().item(),
            "correlation": torch.corrcoef(both)[0, 1].item() if varied else None,
            "n": len(theirs),
        }
    return found


def _compared(figures: dict[str, Any]) -> list[str]:
    """A sentence when this model is not clearly better than the better of the two rules, judged on the same rows."""
    over = figures["over_baseline"]
    if over["low"] > 0:
        return []
    both = (figures["accuracy"], figures[f"baseline_{over['baseline']}"])
    shown = [f"{each['value']:.1%} ({each['low']:.1%} to {each['high']:.1%})" for each in both]
    chance = " beyond chance" if over["value"] > 0 else ""
    return [
        f"This reward model does not beat the rule that the {over['baseline']} answer wins{chance}: {shown[0]} against"
        f" {shown[1]} on {over['n']} held-out pairs; they differ by between {over['low']:.1%} and {over['high']:.1%}."
    ]


def _right(leads: Sequence[float], groups: Sequence[Any]) -> list[float]:
    """Of each group the share of pairs with the better answer ahead, ties counting half."""
    found: dict[Any, list[float]] = {}
    for lead, group in zip(leads, groups, strict=True):
        found.setdefault(group, []).append(1.0 if lead > 0 else 0.5 if lead == 0 else 0.0)
    return [sum(each) / len(each) for each in found.values()]
