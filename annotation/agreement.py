"""How far the people who judged the same tasks agree, between all of them or between groups named by pattern."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import combinations, zip_longest
from typing import Any

from django.utils.translation import gettext

from annotation import intervals, reliability
from annotation.models import Annotation, Kind, Project, Response
from annotation.questions import questions_of

TIE = "tie"
PAGE = 2000  # judgements read at a time


class NotComparable(ValueError):
    """Agreement does not exist for what was asked; the message is one sentence."""


@dataclass
class _Tally:
    """What has been counted so far."""

    clusters: list[tuple[float, int]] = field(default_factory=list)  # per task: agreeing pairs of votes, pairs
    pairs: list[tuple[Hashable, Hashable]] = field(default_factory=list)
    units: list[list[Any]] = field(default_factory=list)
    people: set[str] = field(default_factory=set)


def agreement(
    project: Project,
    *,
    groups: tuple[str, ...] | None = None,
    ties: bool = True,
    aspect: str | None = None,
    purpose: str | None = None,
) -> dict[str, Any]:
    """Agreement over pairs of votes on the same task by different people, with its 95 % interval.

    `groups` holds no pattern (everybody with everybody), one (within the group, as "expert_*") or two (one vote from
    each). With `ties` a vote for neither side counts as a label of its own, otherwise only pairs in which both votes
    choose a side count. For ratings `aspect` must be named; rankings compare by whole pairs of responses.
    "kappa" is Cohen's, between two people or two groups; "alpha" is Krippendorff's (nominal; interval for ratings).
    """
    patterns = _patterns(groups)
    label_of = _labeller(project, aspect)
    tally = _Tally()
    for votes in _tasks(project, purpose):
        _count(tally, votes, patterns, ties, label_of)
    distance = reliability.interval if project.kind == Kind.RATING else reliability.nominal
    two = len(patterns) == 2 or len(tally.people) == 2
    percent = intervals.clustered(tally.clusters)
    if percent is not None:
        percent["agree"] = int(sum(agreeing for agreeing, _ in tally.clusters))
    return {
        "percent": percent,
        "kappa": reliability.cohen_kappa(tally.pairs) if two else None,
        "alpha": reliability.krippendorff_alpha(tally.units, distance),
        "annotators": len(tally.people),
        "tasks": len(tally.clusters),
        "ties": ties,
        "groups": list(patterns),
    }


Votes = list[tuple[str, dict[str, Any], list[int]]]  # name, body, response ids in the order given at import
Labeller = Callable[[dict[str, Any], list[int]], list[Hashable]]


def _patterns(groups: tuple[str, ...] | None) -> tuple[str, ...]:
    patterns = tuple(groups or ())
    if len(patterns) > 2 or not all(patterns):
        raise NotComparable(gettext("Name one group or two, as patterns such as expert_* and gpt4*."))
    return patterns[:1] if len(set(patterns)) == 1 else patterns


def _labeller(project: Project, aspect: str | None) -> Labeller:
    """How a body becomes labels: one for a preference or a rating, one for each pair of responses in a ranking."""
    names = [known["name"] for known in questions_of(project)["aspects"]]
    if aspect is not None and aspect not in names:
        raise NotComparable(
            gettext("There is no aspect %(aspect)r here; there are %(names)s.")
            % {"aspect": aspect, "names": ", ".join(names) or "none"}
        )
    if project.kind == Kind.DEMONSTRATION:
        raise NotComparable(gettext("Written answers have no agreement: no two are alike."))
    if project.kind == Kind.RANKING:
        return lambda body, ids: _order_labels(body["ranking"], ids)
    if project.kind == Kind.RATING:
        if aspect is None:
            raise NotComparable(gettext("Name the aspect to compare: %(names)s.") % {"names": ", ".join(names)})
        return lambda body, ids: _turn_labels(body, aspect)
    if aspect is not None:
        return lambda body, ids: [_side(body.get("aspects", {}).get(aspect), ids)]
    return lambda body, ids: [_side(body["choice"], ids)]


def _side(choice: Any, ids: list[int]) -> Hashable:
    """The place of the chosen response; "both bad" prefers neither and so is a tie here."""
    if choice is None:
        return None
    return ids.index(choice) if isinstance(choice, int) else TIE


def _turn_labels(body: dict[str, Any], aspect: str) -> list[Hashable]:
    """The rating of the response, then those of the earlier messages by their place, None where one is not rated."""
    turns = {int(turn): ratings for turn, ratings in (body.get("turns") or {}).items()}
    earlier = range(max(turns, default=-1) + 1)
    return [body["ratings"].get(aspect), *(turns.get(place, {}).get(aspect) for place in earlier)]


def _order_labels(ranking: list[list[int]], ids: list[int]) -> list[Hashable]:
    place = {response: index for index, tied in enumerate(ranking) for response in tied}
    differences = [place[second] - place[first] for first, second in combinations(ids, 2)]
    return [0 if difference > 0 else 1 if difference < 0 else TIE for difference in differences]


def _tasks(project: Project, purpose: str | None) -> Iterator[Votes]:
    """The votes on each task that several people judged, by task; tasks with a known answer are chosen to be clear."""
    rows = Annotation.objects.standing().filter(project=project, task__done__gte=2, task__is_gold=False)
    if purpose is not None:
        rows = rows.filter(task__purpose=purpose)
    last = 0
    while tasks := list(rows.filter(task__gt=last).order_by("task").values_list("task", flat=True).distinct()[:PAGE]):
        last = tasks[-1]
        ids: dict[int, list[int]] = {task: [] for task in tasks}
        for task, response in (
            Response.objects.filter(task__in=tasks).order_by("task", "position").values_list("task", "pk")
        ):
            ids[task].append(response)
        votes: dict[int, Votes] = {task: [] for task in tasks}
        for task, name, body in (
            rows.filter(task__in=tasks).order_by("pk").values_list("task", "annotator__username", "body")
        ):
            votes[task].append((name, body, ids[task]))
        yield from votes.values()


def _count(tally: _Tally, votes: Votes, patterns: tuple[str, ...], ties: bool, label_of: Labeller) -> None:
    members = [[vote for vote in votes if fnmatchcase(vote[0], pattern)] for pattern in patterns] or [votes]
    named = {name: label_of(body, ids) for name, body, ids in votes}
    if len(members) == 2:
        pairs = [(one[0], other[0]) for one in members[0] for other in members[1] if one[0] != other[0]]
    else:
        pairs = list(combinations(sorted(vote[0] for vote in members[0]), 2))
    agreeing = counted = 0
    for one, other in pairs:
        for left, right in zip_longest(named[one], named[other]):
            if left is None or right is None or (not ties and TIE in (left, right)):
                continue
            tally.people |= {one, other}
            tally.pairs.append((left, right))
            agreeing, counted = agreeing + (left == right), counted + 1
    if counted:
        tally.clusters.append((agreeing, counted))
        people = sorted({name for pair in pairs for name in pair})
        for labels in zip_longest(*(named[name] for name in people)):
            unit = [label for label in labels if label is not None and (ties or label != TIE)]
            tally.units.append(unit)
