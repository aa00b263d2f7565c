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
MOST_SINGLE = 5000  # tasks of several things each that are drawn one by one
PART_GROUPS = 100  # of the tasks of one of many parts
DAILY = 21  # days: up to here time goes by the day, beyond by the week


def overall(ballots: Ballots, *, part: bool = False) -> dict[str, Any] | None:
    """Every measure with its interval over all votes; None when no thing has two."""
    counts = ballots.counts()
    votes = counts.sum(axis=1)
    if not (votes > 1).any():
        return None
    question = ballots.question
    estimates = bootstrap.of_tasks(*_patterns(ballots, counts), question.values, part=part)
    estimates["cohen"] = cohen(ballots, part=part)
    several = votes > 1
    return {
        "tasks": len(np.unique(ballots.task[several])),
        "things": int(several.sum()),
        "votes": int(votes[several].sum()),
        "measures": meaningful(estimates, question.scale),
    }


def cohen(ballots: Ballots, *, part: bool = False) -> dict[str, float | None]:
    """Cohen's kappa for two people; for more Conger's (1980): observed and chance agreement averaged over the pairs.

    A pair weighs what it shares; a person's share of each category is taken over everything that person judged, so
    that two people who met once or twice do not seem to agree by chance alone. Equals Cohen's when two people judged
    the same things.
    """
    given = ballots.label >= 0
    people = np.unique(ballots.person[given], return_inverse=True)[1]
    labels, things = ballots.label[given], ballots.thing[given]
    one, other = _pairs(things)
    if not len(one):
        return {"value": None, "low": None, "high": None}
    k, number = len(ballots.question.categories), int(people.max()) + 1
    group = bootstrap.grouped(int(ballots.task.max()) + 1, PART_GROUPS if part else None)
    groups, of_vote, of_pair = int(group.max()) + 1, group[ballots.task[things]], group[ballots.task[things[one]]]
    given_by = np.bincount((of_vote * number + people) * k + labels, minlength=groups * number * k)
    equal = np.bincount(of_pair, weights=labels[one] == labels[other], minlength=groups)
    pair = np.minimum(people[one], people[other]) * number + np.maximum(people[one], people[other])
    cells, shared = np.unique(pair * groups + of_pair, return_counts=True)  # what a pair shares in a group
    weights = bootstrap.weights(groups)
    shares = (weights @ given_by.reshape(groups, number * k)).reshape(-1, number, k)
    shares = shares / np.maximum(shares.sum(axis=2, keepdims=True), 1e-12)
    total, expected = _by_chance(cells, shared, weights, shares)
    left = total - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        kappas = np.where(left > 1e-12 * total, (weights @ equal - expected) / left, np.nan)
    return bootstrap.estimate(kappas[0], kappas[1:], tasks=len(np.unique(ballots.task[things[one]])))


def _by_chance(cells: Array, shared: Array, weights: Array, shares: Array) -> tuple[Array, Array]:
    """(R) pairs of votes, and how many of them are equal by chance, in each replicate; some pairs of people at a time.

    `cells` are the numbers pair * G + group, ascending, and `shared` how many votes they hold; `weights` (R, G) and
    each person's `shares` (R, P, K) of the categories.
    """
    groups, number = weights.shape[1], shares.shape[1]
    met, which = np.unique(cells // groups, return_inverse=True)
    total, expected = np.zeros(len(weights)), np.zeros(len(weights))
    step = max(1, bootstrap.CELLS // (groups + len(weights) * shares.shape[2]))
    for first in range(0, len(met), step):
        begin, end = np.searchsorted(which, [first, first + step])
        table = np.zeros((len(met[first : first + step]), groups))
        table[which[begin:end] - first, cells[begin:end] % groups] = shared[begin:end]
        weight = weights @ table.T
        one, other = np.divmod(met[first : first + step], number)
        total += weight.sum(axis=1)
        expected += (weight * (shares[:, one] * shares[:, other]).sum(axis=2)).sum(axis=1)
    return total, expected


def by_people(ballots: Ballots, votes: Votes) -> list[dict[str, Any]]:
    """Each two people who judged enough of the same things, those who share most first."""
    given = ballots.label >= 0
    things, people = ballots.thing[given], ballots.person[given].astype(np.int64)
    labels = ballots.label[given].astype(np.int64)
    one, other = _pairs(things)
    if not len(one):
        return []
    number = len(votes.people)
    swap = people[one] > people[other]
    first, second = np.where(swap, other, one), np.where(swap, one, other)
    met, which, often = np.unique(people[first] * number + people[second], return_inverse=True, return_counts=True)
    group = bootstrap.grouped(int(ballots.task.max()) + 1)[ballots.task[things[one]]]
    found = []
    for place in np.argsort(-often, kind="stable")[:MOST_PAIRS]:
        if often[place] < FEWEST_SHARED:
            break
        theirs = which == place
        tables = _tables(group[theirs], labels[first[theirs]], labels[second[theirs]], ballots)
        a, b = (votes.people[int(person)] for person in divmod(int(met[place]), number))
        estimates = meaningful(bootstrap.of_tables(tables, ballots.question.values), ballots.question.scale)
        found.append({"a": a, "b": b, "things": int(often[place]), "measures": estimates})
    return found


def between(ballots: Ballots, ones: Array, others: Array) -> Estimates | None:
    """Every measure of one vote from each of two groups of people, (P) of who is in which; None without such a pair."""
    given = ballots.label >= 0
    things, people = ballots.thing[given], ballots.person[given]
    labels = ballots.label[given].astype(np.int64)
    a, b = _pairs(things)
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    across = ones[people[a]] & others[people[b]]
    if not across.any():
        return None
    group = bootstrap.grouped(int(ballots.task.max()) + 1)[ballots.task[things[a[across]]]]
    tables = _tables(group, labels[a[across]], labels[b[across]], ballots)
    return meaningful(bootstrap.of_tables(tables, ballots.question.values), ballots.question.scale)


def by_sources(ballots: Ballots, votes: Votes) -> list[dict[str, Any]]:
    """Each two sources whose responses were compared, or each whose responses were rated, those judged most first.

    `b` is `a` where one response is judged, and where both that are compared come from the same source.
    """
    low, high = ballots.sources.min(axis=1), ballots.sources.max(axis=1)
    known = low != NONE
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


def around(ballots: Ballots, votes: Votes, day: date) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The overall figures of what was last judged before a day, and of what was judged on it or since."""
    later = (votes.day >= day.toordinal())[ballots.task]
    before, since = (ballots.only(kept) if kept.any() else None for kept in (~later, later))
    return tuple(overall(part, part=True) if part else None for part in (before, since))  # type: ignore[return-value]


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
    """What tasks add to the sums, each different row once, and how many tasks add it; of many tasks in groups."""
    patterns, which, often = _different(counts)
    rows, tasks = measures.rows_of(patterns), int(ballots.task.max()) + 1
    if tasks == len(ballots.task):
        return rows, often
    group = bootstrap.grouped(tasks) if tasks > MOST_SINGLE else np.arange(tasks)
    totals = np.column_stack([np.bincount(group[ballots.task], weights=column[which]) for column in rows.T])
    if tasks > MOST_SINGLE:
        return totals, np.ones(len(totals), dtype=np.int64)
    return np.unique(np.round(totals, 9), axis=0, return_counts=True)


def _different(counts: Array) -> tuple[Array, Array, Array]:
    """The rows that differ, the place of each row among them, and how often each comes."""
    base, columns = int(counts.max(initial=0)) + 1, counts.shape[1]
    if base**columns >= 2**62:
        patterns, which, often = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
        return patterns, which.reshape(-1), often
    # One number for each row is sorted many times faster than the rows.
    codes = counts @ np.array([base**column for column in range(columns)], dtype=np.int64)
    _, first, which, often = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    return counts[first], which, often


def _tables(group: Array, first: Array, second: Array, ballots: Ballots) -> Array:
    """(G, K, K) of how often the first of two said what when the second said what, by group of tasks."""
    k = len(ballots.question.categories)
    groups, place = np.unique(group, return_inverse=True)
    cells = np.bincount((place * k + first) * k + second, minlength=len(groups) * k * k)
    return cells.reshape(len(groups), k, k)


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
