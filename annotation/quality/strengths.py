"""How strong each source of responses is, from all comparisons between sources: Bradley and Terry (1952)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.quality import bootstrap
from annotation.quality.votes import NONE, Ballots, Votes

Array = NDArray[Any]

MOST_SOURCES = 40  # those compared most
STEPS, CLOSE = 500, 1e-6
PRIOR = 0.5  # won and lost against an average source: a source that won everything still has a finite strength


def of_sources(ballots: Ballots, votes: Votes) -> list[dict[str, Any]]:
    """Each source's strength in log odds against the average source, strongest first, with intervals over tasks.

    A tie counts as half a win for each. Only sources that have names and met another one take part.
    """
    one, other = ballots.sources[ballots.thing].T
    counts = (one != NONE) & (other != NONE) & (one != other) & (ballots.label >= 0)
    if not counts.any():
        return []
    met = np.bincount(np.concatenate([one[counts], other[counts]]), minlength=len(votes.sources))
    kept = np.argsort(-met, kind="stable")[:MOST_SOURCES]
    kept = kept[met[kept] > 0]
    place = np.full(len(votes.sources), NONE)
    place[kept] = np.arange(len(kept))
    counts &= (place[one] != NONE) & (place[other] != NONE)
    one, other, label = place[one[counts]], place[other[counts]], ballots.label[counts]
    task, size = ballots.task[ballots.thing[counts]], len(kept)
    group = bootstrap.grouped(int(ballots.task.max()) + 1)
    groups, of_vote = int(group.max()) + 1, group[task]
    share = 1 - label / 2  # of the win: 1, a half, 0
    wins = np.zeros((groups, size * size))
    for cells, won in ((one * size + other, share), (other * size + one, 1 - share)):
        found = np.bincount(of_vote * size * size + cells, weights=won, minlength=wins.size)
        wins += found.reshape(wins.shape)
    fitted = strengths((bootstrap.weights(groups) @ wins).reshape(-1, size, size))
    compared = len(np.unique(task))
    rows = [
        {"source": votes.sources[int(kept[i])], "votes": int(met[kept[i]])}
        | bootstrap.estimate(fitted[0, i], fitted[1:, i], tasks=compared)
        for i in range(size)
    ]
    return sorted(rows, key=lambda row: -row["value"])


def strengths(wins: Array) -> Array:
    """(…, S) log strengths of mean 0 from (…, S, S) wins of row over column: Hunter (2004), algorithm of section 3."""
    games = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(axis=-1) + PRIOR
    strength = np.ones(won.shape)
    for _ in range(STEPS):
        against = (games / (strength[..., :, None] + strength[..., None, :])).sum(axis=-1)
        new = won / (against + 2 * PRIOR / (strength + 1))
        new /= np.exp(np.log(new).mean(axis=-1, keepdims=True))
        moved = np.abs(np.log(new / strength)).max()
        strength = new
        if moved < CLOSE:
            break
    return np.asarray(np.log(strength))
