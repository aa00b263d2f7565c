"""Agreement on one question: of everybody, of each two people, of each two sources, and as time goes by."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.quality import bootstrap, measures
from annotation.quality.bootstrap import Estimates
from annotation.quality.votes import NONE, Ballots, Votes

Array = NDArray[Any]

MOST_PAIRS, MOST_PARTS = 100, 60  # of people; of sources or weeks: the ones with the most in common
FEWEST_SHARED = 5  # things that two people must both have judged
DAILY = 21  # days: up to here time goes by the day, beyond by the week


def overall(ballots: Ballots, *, part: bool = False) -> dict[str, Any] | None:
    """Every measure with its interval over all votes; None when no thing has two."""
    counts = ballots.counts()
    votes = counts.sum(axis=1)
    if not (votes > 1).any():
        return None
    question = ballots.question
    estimates = bootstrap.of_tasks(*_patterns(ballots, counts), question.values, part=part)
    estimates["cohen"] = cohen(ballots)
    several = votes > 1
    return {
        "tasks": len(np.unique(ballots.task[several])),
        "things": int(several.sum()),
        "votes": int(votes[several].sum()),
        "measures": meaningful(estimates, question.scale),
    }


def cohen(ballots: Ballots) -> dict[str, float | None]:
    """Cohen's kappa for two people; for more Conger's (1980): observed and chance agreement averaged over the pairs.

    A pair weighs what it shares; a person's share of each category is taken over everything that person judged, so
    that two people who met once or twice do not seem to agree by chance alone. Equals Cohen's when two people judged
    the same things.
    """
    given = ballots.label >= 0
    people, labels, things = ballots.person[given], ballots.label[given], ballots.thing[given]
    one, other = _pairs(things)
    if not len(one):
        return {"value": None, "low": None, "high": None}
    k = len(ballots.question.categories)
    number = int(people.max()) + 1
    met, which = np.unique(
        np.minimum(people[one], people[other]).astype(np.int64) * number + np.maximum(people[one], people[other]),
        return_inverse=True,
    )
    equal = (labels[one] == labels[other]).astype(np.float64)
    cells = people.astype(np.int64) * k + labels
    of_vote, of_pair = ballots.task[things], ballots.task[things[one]]

    def kappa(weights: Array) -> float:
        shares = np.bincount(cells, weights=weights[of_vote], minlength=number * k).reshape(number, k)
        shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        drawn = weights[of_pair]
        shared = np.bincount(which, weights=drawn, minlength=len(met))
        total = shared.sum()
        if not total:
            return float("nan")
        observed = float(drawn @ equal) / total
        expected = float(shared @ (shares[met // number] * shares[met % number]).sum(axis=1)) / total
        return float("nan") if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)

    tasks = int(ballots.task.max()) + 1
    drawn = np.array([kappa(weights) for weights in bootstrap.weights(tasks)])
    return bootstrap.estimate(kappa(np.ones(tasks)), drawn, tasks=len(np.unique(of_pair)))


def by_people(ballots: Ballots, votes: Votes) -> list[dict[str, Any]]:
    """Each two people who judged enough of the same things, those who share most first."""
    given = ballots.label >= 0
    people, labels = ballots.person[given].astype(np.int64), ballots.label[given]
    k, number = len(ballots.question.categories), len(votes.people)
    one, other = _pairs(ballots.thing[given])
    swap = people[one] > people[other]
    first, second = np.where(swap, other, one), np.where(swap, one, other)
    pair = people[first] * number + people[second]
    met, which, often = np.unique(pair, return_inverse=True, return_counts=True)
    tables = np.bincount(
        which * k * k + labels[first].astype(np.int64) * k + labels[second], minlength=len(met) * k * k
    ).reshape(len(met), k, k)
    most = [place for place in np.argsort(-often, kind="stable")[:MOST_PAIRS] if often[place] >= FEWEST_SHARED]
    found = []
    for place in most:
        estimates = bootstrap.of_table(tables[place], ballots.question.values)
        a, b = (votes.people[int(person)] for person in divmod(int(met[place]), number))
        shared = {"a": a, "b": b, "things": int(often[place])}
        found.append(shared | {"measures": meaningful(estimates, ballots.question.scale)})
    return found


def by_sources(ballots: Ballots, votes: Votes) -> list[dict[str, Any]]:
    """Each two sources whose responses were compared, those compared most first."""
    low, high = ballots.sources.min(axis=1), ballots.sources.max(axis=1)
    known = (low != NONE) & (low != high)
    pair = np.where(known, low.astype(np.int64) * (len(votes.sources) + 1) + high, NONE)
    return [
        {"a": votes.sources[int(place // (len(votes.sources) + 1))]}
        | {"b": votes.sources[int(place % (len(votes.sources) + 1))]}
        | found
        for place, found in _parts(ballots, pair)
    ]


def over_time(ballots: Ballots, votes: Votes) -> list[dict[str, Any]]:
    """Agreement on what was last judged in each week, in order; by day while the project is young."""
    if not len(votes.day):
        return []
    size = 1 if votes.day.max() - votes.day.min() < DAILY else 7
    start = (votes.day - 1) // size * size + 1  # ordinal 1 is a Monday
    parts = sorted(_parts(ballots, start[ballots.task], newest=True))
    return [{"from": date.fromordinal(int(day)).isoformat(), "days": size} | found for day, found in parts]


def meaningful(estimates: Estimates, scale: str) -> Estimates:
    """The measures whose distances the scale has: labels without an order have only the nominal ones."""
    no = {"nominal": {"alpha_ordinal", "alpha_interval", "ac2"}, "ordinal": {"alpha_interval"}}.get(scale, set())
    return {name: estimates[name] for name in measures.NAMES if name in estimates and name not in no}


def _parts(ballots: Ballots, part: Array, *, newest: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """The overall figures of the things of each part, of the largest parts or the newest; NONE is no part."""
    several = ballots.counts().sum(axis=1) > 1
    found, sizes = np.unique(part[several & (part != NONE)], return_counts=True)
    order = np.argsort(-found if newest else -sizes, kind="stable")[:MOST_PARTS]
    for place in found[order]:
        figures = overall(ballots.only(part == place), part=True)
        if figures is not None:
            yield int(place), figures


def _patterns(ballots: Ballots, counts: Array) -> tuple[Array, Array]:
    """What tasks add to the sums, each different row once, and how many tasks add it."""
    patterns, which, often = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
    rows, which = measures.rows_of(patterns), which.reshape(-1)
    if int(ballots.task.max()) + 1 == len(ballots.task):
        return rows, often
    totals = np.column_stack([np.bincount(ballots.task, weights=column[which]) for column in rows.T])
    return np.unique(np.round(totals, 9), axis=0, return_counts=True)


def _pairs(things: Array) -> tuple[Array, Array]:
    """The places of each two votes on the same thing; votes are ordered by thing."""
    ones, others = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for gap in range(1, len(things)):
        same = np.nonzero(things[gap:] == things[:-gap])[0]
        if not len(same):
            break
        ones.append(same)
        others.append(same + gap)
    return np.concatenate(ones), np.concatenate(others)
