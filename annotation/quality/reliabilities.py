"""How far each annotator's votes can be relied on, by two models of the truth behind them, and how sure that is.

The interval is the normal one on the log odds, with the standard error of a bootstrap over tasks (Efron and Tibshirani
1993, section 6.4: fifty replicates tell it well). Each replicate goes on from the fit to everything. Of a large project
it takes a random part of the tasks, and the error shrinks by the root of the share of a person's votes in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation import intervals
from annotation.quality import bootstrap
from annotation.quality.latent import Latent, dawid_skene, mace
from annotation.quality.votes import Ballots

Array = NDArray[Any]
Estimates = list[dict[str, float | None] | None]

MODELS: dict[str, Callable[..., Latent]] = {"dawid_skene": dawid_skene, "mace": mace}
REPLICATES = 50
MOST_VOTES = 200_000  # fitted again in each replicate
FEWEST_VOTES = 5  # of a person, or there is no interval
LEAST = 1e-6


def of_people(ballots: Ballots, number: int) -> dict[str, Estimates]:
    """{model: estimates} by the places of the `number` people; empty when nobody can be compared."""
    given = ballots.label >= 0
    things, people, labels = ballots.thing[given], ballots.person[given], ballots.label[given].astype(np.int64)
    if not len(things) or not (things[1:] == things[:-1]).any():
        return {}
    judged = np.bincount(people, minlength=number)
    k = len(ballots.question.categories)
    found: dict[str, Estimates] = {}
    for name, model in MODELS.items():
        fitted = model(things, people, labels, k)
        errors = _errors(model, fitted, ballots, (things, people, labels), judged)
        found[name] = [
            _estimate(float(fitted.reliability[i]), float(errors[i])) if judged[i] else None for i in range(number)
        ]
    return found


def _errors(
    model: Callable[..., Latent], fitted: Latent, ballots: Ballots, votes: tuple[Array, Array, Array], judged: Array
) -> Array:
    """The standard error of each person's log odds; NaN where too few votes tell it."""
    things, people, labels = votes
    k, tasks = len(ballots.question.categories), ballots.task[things]
    kept = np.ones(len(things), dtype=bool)
    if len(things) > MOST_VOTES:
        random = np.random.default_rng(bootstrap.SEED)
        kept = (random.random(int(ballots.task.max()) + 1) < MOST_VOTES / len(things))[tasks]
    _, place = np.unique(things, return_inverse=True)  # of each vote's thing in the fit
    first = np.unique(place[kept], return_index=True)
    of_thing = np.unique(tasks[kept], return_inverse=True)[1][first[1]]  # a thing is drawn as often as its task
    begun = Latent(fitted.posterior[first[0]], fitted.prior, fitted.reliability, fitted.confusion, fitted.habit)
    group = bootstrap.grouped(int(of_thing.max()) + 1)[of_thing]
    drawn = [
        _log_odds(
            model(things[kept], people[kept], labels[kept], k, weights=weights[group], start=begun).reliability,
            len(judged),
        )
        for weights in bootstrap.weights(int(group.max()) + 1, REPLICATES)[1:]
    ]
    seen = np.bincount(people[kept], minlength=len(judged))
    spread = np.std(drawn, axis=0, ddof=1) * np.sqrt(seen / np.maximum(judged, 1))
    return np.where((seen >= FEWEST_VOTES) & (len(first[0]) > 1), spread, np.nan)


def _log_odds(shares: Array, number: int) -> Array:
    """One for each of `number` people; those after the last who voted have none."""
    inside = np.clip(shares, LEAST, 1 - LEAST)
    padded = np.zeros(number)
    padded[: len(shares)] = np.log(inside / (1 - inside))
    return padded


def _estimate(value: float, error: float) -> dict[str, float | None]:
    if not np.isfinite(error):
        return {"value": round(value, bootstrap.DIGITS), "low": None, "high": None}
    middle = float(_log_odds(np.array([value]), 1)[0])
    low, high = (1 / (1 + np.exp(-(middle + side * intervals.Z * error))) for side in (-1, 1))
    return {name: round(float(at), bootstrap.DIGITS) for name, at in (("value", value), ("low", low), ("high", high))}
