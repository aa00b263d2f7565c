"""Soft labels: how likely each side of a pair is the better one, given how far each judge can be relied on.

Dawid and Skene's model (quality.latent) reads all selected votes of the project at once; its classes are the first
response, neither, and the second.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import combinations

from annotation.judged import JudgedTask, Selection, Vote, judged_tasks
from annotation.models import Kind, Project
from annotation.pair_verdicts import choice_lead, rank_lead


def with_soft_labels(project: Project, selection: Selection) -> Iterator[JudgedTask]:
    """The judged tasks, each with the posterior of its pairs; the votes are read once before, a few bytes each."""
    import numpy as np  # only an export that asks for it pays for loading it

    from annotation.quality.latent import dawid_skene

    things, people, labels = array("q"), array("q"), array("b")
    known: dict[int, int] = {}
    thing = 0
    for task in judged_tasks(project, selection):
        for first, second in combinations(task.responses, 2):
            for vote in task.given:
                things.append(thing)
                people.append(known.setdefault(vote.annotator, len(known)))
                labels.append(1 - _side(project.kind, first, second, vote))
            thing += 1
    if not things:
        return
    label = np.frombuffer(labels, dtype=np.int8).astype(np.int64)
    posterior = iter(dawid_skene(np.array(things), np.array(people), label, 3).posterior)
    for task in judged_tasks(project, selection):
        pairs = list(combinations(task.responses, 2))
        soft = {pair: tuple(map(float, next(posterior))) for pair in pairs}
        if task.ruling:  # a reviewer's word is no likelihood
            sides = {pair: _side(project.kind, *pair, task.votes[0]) for pair in pairs}
            soft = {pair: tuple(float(side == one) for one in (1, 0, -1)) for pair, side in sides.items()}
        yield task._replace(soft=soft)


def _side(kind: str, first: int, second: int, vote: Vote) -> int:
    body = vote.body
    return (rank_lead(body, first, second) if kind == Kind.RANKING else choice_lead(body, first))[0]
