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

MOST_STEPS, AGAIN, CLOSE = 200, 12, 1e-4  # steps of a fit, and of one that begins where another ended
LEAST = 1e-12


@dataclass(frozen=True)
class Latent:
    posterior: Array  # (T, K) of each task's true label
    prior: Array  # (K)
    reliability: Array  # (P) the chance that a person's vote is right
    confusion: Array  # (P, K, K) of a person's label (last axis) given the true one; empty for MACE
    habit: Array  # (P, K) of what a person says without looking; empty for Dawid and Skene

    @property
    def label(self) -> Array:
        return np.asarray(self.posterior.argmax(axis=1))


def dawid_skene(
    task: Array,
    person: Array,
    label: Array,
    k: int,
    *,
    smoothing: float = 0.5,
    weights: Array | None = None,
    start: Latent | None = None,
) -> Latent:
    """Dawid and Skene (1979), equations 2.3 to 2.5, begun from each task's shares of votes (3.1).

    `smoothing` votes are added to every cell of a person's table, spread as everybody's table is, so that somebody who
    judged little is neither perfect nor useless; 0 is the paper's maximum likelihood. `weights` (T) count each task so
    many times; `start` is a fit to the same tasks to go on from.
    """
    people, begins, of_task = int(person.max()) + 1, *_begins(task)
    posterior = start.posterior if start else _shares(of_task, label, k)
    counted = np.ones(len(begins)) if weights is None else weights
    cells = person.astype(np.int64) * k + label
    prior, confusion = np.empty(k), np.empty((people, k, k))
    for _ in range(AGAIN if start else MOST_STEPS):
        true = posterior * counted[:, None]
        prior = true.sum(axis=0) / counted.sum()
        table = _weighted(cells, true[of_task], people * k).reshape(people, k, k).transpose(0, 2, 1)
        if smoothing:
            everybody = table.sum(axis=0) + 1.0
            table = table + smoothing * k * everybody / everybody.sum(axis=1, keepdims=True)
        confusion = table / np.maximum(table.sum(axis=2, keepdims=True), LEAST)
        chance = np.log(np.maximum(confusion, LEAST))[person, :, label]
        before, posterior = posterior, _normal(np.log(np.maximum(prior, LEAST)) + np.add.reduceat(chance, begins))
        if np.abs(posterior - before).max() < CLOSE:
            break
    right = np.einsum("pkk,k->p", confusion, prior)
    return Latent(posterior, prior, right, confusion, np.empty((0, k)))


def mace(
    task: Array,
    person: Array,
    label: Array,
    k: int,
    *,
    smoothing: float = 0.1,
    weights: Array | None = None,
    start: Latent | None = None,
) -> Latent:
    """MACE, Hovy et al. (2013), section 3: each vote is the truth, or spam from the person's own habit.

    A person spams with probability θ and then says label l with probability ξ_l. Reliability is the competence 1 - θ
    and what spam gets right by luck is not part of it. `smoothing` counts are added as in the paper's section 3.2;
    `weights` and `start` are as for dawid_skene.
    """
    people, begins, of_task = int(person.max()) + 1, *_begins(task)
    posterior = start.posterior if start else _shares(of_task, label, k)
    counted = np.ones(len(task)) if weights is None else weights[of_task]
    votes = np.bincount(person, weights=counted, minlength=people)
    cells = person.astype(np.int64) * k + label
    seen = of_task * k + label
    spam = 1 - start.reliability if start else np.full(people, 0.5)
    habit = start.habit if start else np.full((people, k), 1 / k)
    for _ in range(AGAIN if start else MOST_STEPS):
        luck = (spam[:, None] * habit).reshape(-1)[cells]
        true = posterior.reshape(-1)[seen]
        by_habit = luck / np.maximum(luck + 1 - spam[person], LEAST)  # the chance of spam when the label is the truth
        spammed = (1 - true + true * by_habit) * counted
        spam = (np.bincount(person, weights=spammed, minlength=people) + smoothing) / (votes + 2 * smoothing)
        habit = np.bincount(cells, weights=spammed, minlength=people * k).reshape(people, k) + smoothing
        habit /= habit.sum(axis=1, keepdims=True)
        luck = np.maximum((spam[:, None] * habit).reshape(-1)[cells], LEAST)
        gain = np.log(luck + 1 - spam[person]) - np.log(luck)
        before, posterior = (
            posterior,
            _normal(np.bincount(seen, weights=gain, minlength=len(begins) * k).reshape(-1, k)),
        )
        if np.abs(posterior - before).max() < CLOSE:
            break
    return Latent(posterior, posterior.mean(axis=0), 1 - spam, np.empty((0, k, k)), habit)


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
