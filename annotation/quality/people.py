"""Each annotator: beside the others, beside the consensus, and the habits that no agreement shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation import intervals
from annotation.quality import bootstrap, latent, measures, reliabilities
from annotation.quality.votes import NONE, Ballots, Votes

Array = NDArray[Any]

FEWEST = 5  # things that a person must have shared before an interval says something


def figures(ballots: Ballots | None, votes: Votes, *, since: int = 0) -> list[dict[str, Any]]:
    """One row for each annotator, the busiest first; "annotator" is the account's id.

    agreement: the share of equal votes over pairs with others; alpha: Krippendorff's of this person with the others;
    consensus: how often the vote is the most frequent one of the others; offset (ratings): points above the others'
    mean; dawid_skene and mace: how far the votes can be relied on, each with its interval; first_side, longer: how
    often the response shown first, or the longer one, was preferred. Without `ballots` nothing compares, and only
    counts and speeds are given. With `since`, a day, only what was judged on it or later has a row, beside whatever
    the others said at any time; the two models need all votes and are left out.
    """
    number, recent = len(votes.people), votes.judged >= since
    done = np.bincount(votes.person[recent], minlength=number)
    speed = _medians(votes.person[recent], votes.seconds[recent], number)
    beside = _beside_others(ballots, votes, since) if ballots else {}
    rows = []
    for place in np.nonzero(done)[0]:
        row: dict[str, Any] = {"annotator": votes.people[place], "count": int(done[place])}
        row["median_seconds"] = speed[place]
        row |= {name: column[place] for name, column in beside.items()}
        told = recent & (votes.person == place)
        row |= {name: _share(column[told]) for name, column in _habits(votes)}
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["count"], row["annotator"]))


def habits(votes: Votes) -> dict[str, Any]:
    """Side and length bias of everybody together, with intervals over tasks; None where nothing tells."""
    found = {}
    for name, column in _habits(votes):
        told = column != NONE
        wins = np.bincount(votes.task[told], weights=column[told], minlength=len(votes.tasks))
        known = np.bincount(votes.task[told], minlength=len(votes.tasks))
        found[name] = intervals.clustered(zip(wins.tolist(), known.tolist(), strict=True))
    return found


def speed(votes: Votes) -> dict[str, float] | None:
    """The median of all judgements' active seconds and its quartiles."""
    known = votes.seconds[~np.isnan(votes.seconds)]
    if not len(known):
        return None
    low, middle, high = (round(float(value), 1) for value in np.percentile(known, [25, 50, 75]))
    return {"low": low, "median": middle, "high": high}


def posterior(ballots: Ballots) -> latent.Latent | None:
    """Dawid and Skene's labels of all things with a vote, by thing; None when no thing has two votes."""
    given = ballots.label >= 0
    things = ballots.thing[given]
    if not len(things) or not (things[1:] == things[:-1]).any():
        return None
    return latent.dawid_skene(things, ballots.person[given], ballots.label[given], len(ballots.question.categories))


def _habits(votes: Votes) -> list[tuple[str, Array]]:
    return [("first_side", votes.first), ("longer", votes.longer)]


def _share(column: Array) -> dict[str, Any] | None:
    told = column[column != NONE]
    return intervals.wilson(float(told.sum()), len(told))


def _beside_others(ballots: Ballots, votes: Votes, since: int) -> dict[str, list[Any]]:
    number, given = len(votes.people), ballots.label >= 0
    things, people, labels = ballots.thing[given], ballots.person[given], ballots.label[given].astype(np.int64)
    counts, sums = ballots.counts(), measures.of_counts(ballots.counts())
    others = counts[things]
    others[np.arange(len(others)), labels] -= 1
    several = others.sum(axis=1) > 0
    if since:
        several &= votes.days(ballots)[given] >= since
    others, people, labels = others[several], people[several], labels[several]
    number_of_others = others.sum(axis=1)
    same = others[np.arange(len(others)), labels]
    most = others.max(axis=1, initial=0)
    clear = (others == most[:, None]).sum(axis=1) == 1
    found: dict[str, list[Any]] = {
        "agreement": _wilsons(people, same, number_of_others, number),
        "alpha": _alphas(ballots, sums, people, labels, others, number),
        "consensus": _wilsons(people[clear], same[clear] == most[clear], np.ones(int(clear.sum())), number),
    }
    if ballots.question.scale == "interval":
        ahead = labels - (others @ ballots.question.values) / np.maximum(number_of_others, 1)
        seen = np.bincount(people, minlength=number)
        mean = np.bincount(people, weights=ahead, minlength=number) / np.maximum(seen, 1)
        found["offset"] = [round(float(mean[i]), 2) if seen[i] else None for i in range(number)]
    return found if since else found | reliabilities.of_people(ballots, number)


def _alphas(ballots: Ballots, sums: measures.Sums, people: Array, labels: Array, others: Array, number: int) -> list:
    """1 - D_o / D_e with one person's disagreement in D_o and everybody's votes in D_e.

    Weighed by their votes these have Krippendorff's alpha as their mean. The interval is Student's of the mean over the
    person's things, with D_e taken as known; there is none for a few things, or where all are alike.
    """
    scale, values = ballots.question.scale, ballots.question.values
    distance = measures.interval(values) if scale == "interval" else measures.nominal(values)
    totals = sums.coincidences.sum(axis=-1)
    n = totals.sum()
    between = float(totals @ distance @ totals) / (n * (n - 1)) if n > 1 else 0.0
    if not between:
        return [None] * number
    apart = (others * distance[labels]).sum(axis=1) / others.sum(axis=1) / between
    seen = np.bincount(people, minlength=number)
    mean = np.bincount(people, weights=apart, minlength=number) / np.maximum(seen, 1)
    square = np.bincount(people, weights=apart**2, minlength=number) / np.maximum(seen, 1)
    error = np.sqrt(np.maximum(square - mean**2, 0) / np.maximum(seen - 1, 1))
    half = error * [intervals.student(int(n) - 1) for n in seen]
    told = (seen >= FEWEST) & (error > bootstrap.ALIKE)
    return [
        {
            "value": round(float(1 - mean[i]), 4),
            "low": round(float(1 - mean[i] - half[i]), 4) if told[i] else None,
            "high": round(float(min(1.0, 1 - mean[i] + half[i])), 4) if told[i] else None,
            "n": int(seen[i]),
        }
        if seen[i]
        else None
        for i in range(number)
    ]


def _wilsons(people: Array, right: Array, of: Array, number: int) -> list[dict[str, Any] | None]:
    rights = np.bincount(people, weights=right, minlength=number)
    counted = np.bincount(people, weights=of, minlength=number)
    return [intervals.wilson(float(rights[i]), int(counted[i])) for i in range(number)]


def _medians(people: Array, seconds: Array, number: int) -> list[float | None]:
    known = ~np.isnan(seconds)
    order = np.lexsort((seconds[known], people[known]))
    ordered, found = seconds[known][order], np.bincount(people[known], minlength=number)
    ends = np.concatenate([[0], np.cumsum(found)])
    parts = [ordered[ends[i] : ends[i + 1]] for i in range(number)]
    return [round(float(np.median(part)), 1) if len(part) else None for part in parts]
