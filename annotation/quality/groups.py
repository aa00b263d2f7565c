"""Agreement inside of one group of annotators, or between two, with every measure and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from annotation.models import Project, User
from annotation.quality import breakdown, votes
from annotation.quality.bootstrap import Estimates
from annotation.quality.votes import NONE, SIDES, Ballots, Votes


def measures(
    project: Project, *, groups: Sequence[str] = (), ties: bool = True, aspect: str | None = None, purpose: str | None
) -> Estimates | None:
    """The measures of the main question, or of an aspect, over everybody, one group or two; None without a pair.

    Groups are patterns of names, as expert_*; without `ties` a vote for neither side is a missing cell.
    """
    found = votes.read(project, purpose=purpose)
    wanted = [one for one in found.ballots if aspect is None or one.question.name == f"aspect:{aspect}"]
    if not wanted or wanted[0].question.name.startswith("flag:"):
        return None
    ballots = wanted[0] if ties else _decided(wanted[0])
    if not len(ballots.task):
        return None
    members = [_members(found, pattern) for pattern in groups]
    if len(members) == 2:
        return breakdown.between(ballots, *members)
    if members:
        ballots = replace(ballots, label=np.where(members[0][ballots.person], ballots.label, NONE))
    overall = breakdown.overall(ballots)
    return overall["measures"] if overall else None


def _decided(ballots: Ballots) -> Ballots:
    if ballots.question.categories != SIDES:
        return ballots
    return replace(ballots, label=np.where(ballots.label == SIDES.index("About the same"), NONE, ballots.label))


def _members(found: Votes, pattern: str) -> np.ndarray:
    names = User.objects.in_bulk(found.people)
    return np.array([fnmatchcase(names[pk].username, pattern) for pk in found.people], dtype=bool)
