"""The label behind the votes, and how far each person's votes can be relied on, by expectation and maximisation.

Both models take votes as three arrays (task, person, label), the tasks ascending; a person may vote on a task several
times, and gaps simply do not appear.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MOST_STEPS, CLOSE = 200, 1e-4
LEAST = 1e-12


@dataclass(frozen=True)
class Latent:
    posterior: Array  # (T, K) of each task's true label
    prior: Array  # (K)
    reliability: Array  # (P) the chance that a person's vote is right
    confusion: Array  # (P, K, K) of a person's label (last axis) given the true one; empty for MACE

    @property
    def label(self) -> Array:
        return np.asarray(self.posterior.argmax(axis=1))


def dawid_skene(task: Array, person: Array, label: Array, k: int, *, smoothing: float = 0.5) -> Latent:
    """Dawid and Skene (1979), equations 2.3 to 2.5, begun from each task's shares of votes (3.1).

    `smoothing` votes are added to every cell of a person's table, spread as everybody's table is, so that somebody who
    judged little is neither perfect nor useless; 0 is the paper's maximum likelihood.
    """
    people, begins, of_task = int(person.max()) + 1, *_begins(task)
    posterior = _shares(of_task, label, k)
    cells = person.astype(np.int64) * k + label
    prior, confusion = np.empty(k), np.empty((people, k, k))
    for _ in range(MOST_STEPS):
        prior = posterior.mean(axis=0)
        table = _weighted(cells, posterior[of_task], people * k).reshape(people, k, k).transpose(0, 2, 1)
        if smoothing:
            everybody = table.sum(axis=0) + 1.0
            table = table + smoothing * k * everybody / everybody.sum(axis=1, keepdims=True)
        confusion = table / np.maximum(table.sum(axis=2, keepdims=True), LEAST)
        chance = np.log(np.maximum(confusion, LEAST))[person, :, label]
        before, posterior = posterior, _normal(np.log(np.maximum(prior, LEAST)) + np.add.reduceat(chance, begins))
        if np.abs(posterior - before).max() < CLOSE:
            break
    right = np.einsum("pkk,k->p", confusion, prior)
    return Latent(posterior, prior, right, confusion)


def mace(task: Array, person: Array, label: Array, k: int, *, smoothing: float = 0.1) -> Latent:
    """MACE, Hovy et al. (2013), section 3: each vote is the truth, or spam from the person's own habit.

    A person spams with probability θ and then says label l with probability ξ_l. Reliability is the competence 1 - θ
    and what spam gets right by luck is not part of it. `smoothing` counts are added as in the paper's section 3.2.
    """
    people, begins, of_task = int(person.max()) + 1, *_begins(task)
    posterior = _shares(of_task, label, k)
    votes = np.bincount(person, minlength=people)
    cells = person.astype(np.int64) * k + label
    spam, habit = np.full(people, 0.5), np.full((people, k), 1 / k)
    for _ in range(MOST_STEPS):
        luck = (spam[:, None] * habit)[person, label]
        true = posterior[of_task, label]
        by_habit = luck / np.maximum(luck + 1 - spam[person], LEAST)  # the chance of spam when the label is the truth
        spammed = 1 - true + true * by_habit
        spam = (np.bincount(person, weights=spammed, minlength=people) + smoothing) / (votes + 2 * smoothing)
        habit = np.bincount(cells, weights=spammed, minlength=people * k).reshape(people, k) + smoothing
        habit /= habit.sum(axis=1, keepdims=True)
        luck = np.maximum((spam[:, None] * habit)[person, label], LEAST)
        gain = np.log(luck + 1 - spam[person]) - np.log(luck)
        scores = np.zeros((len(begins), k))
        np.add.at(scores, (of_task, label), gain)
        before, posterior = posterior, _normal(scores)
        if np.abs(posterior - before).max() < CLOSE:
            break
    return Latent(posterior, posterior.mean(axis=0), 1 - spam, np.empty((0, k, k)))


def _begins(task: Array) -> tuple[Array, Array]:
    """Where each task's votes begin, and the place of each vote's task."""
    new = np.concatenate([[True], task[1:] != task[:-1]])
    return np.nonzero(new)[0], np.cumsum(new) - 1


def _shares(of_task: Array, label: Array, k: int) -> Array:
    counts = np.bincount(of_task * k + label, minlength=(int(of_task[-1]) + 1) * k).reshape(-1, k)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _weighted(cells: Array, weights: Array, size: int) -> Array:
    """(size, K) sums of the rows of `weights` (N, K) by cell."""
    return np.column_stack([np.bincount(cells, weights=column, minlength=size) for column in weights.T])


def _normal(logs: Array) -> Array:
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
