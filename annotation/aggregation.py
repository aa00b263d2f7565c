"""What the votes on one task come to: the training rows it yields, or the reason why it yields none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from annotation.judged import JudgedTask, Selection, Vote
from annotation.models import Kind

Row = dict[str, Any]


class LeftOut(Exception):
    """The task yields nothing; the message is the reason, the same words for the same reason."""


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def sft(task: JudgedTask, selection: Selection) -> list[Row]:
    """Each written answer is a demonstration."""
    return [{"prompt": task.prompt, "completion": answer(vote.body["text"])} for vote in task.votes]


def preference(task: JudgedTask, selection: Selection) -> list[Row]:
    """The pair that the votes prefer."""
    first, second = task.responses
    leads = [_choice_lead(vote, first) for vote in task.votes]
    return _with_weights(_pair_rows(task, first, second, leads, selection))


def preference_from_rankings(task: JudgedTask, selection: Selection) -> list[Row]:
    """All pairs of a ranking that the votes do not leave tied, sharing the weight of one task."""
    rows: list[Row] = []
    for first, second in combinations(task.responses, 2):
        leads = [_rank_lead(vote, first, second) for vote in task.votes]
        try:
            rows += _pair_rows(task, first, second, leads, selection)
        except LeftOut:
            continue
    if not rows:
        raise LeftOut("tie")
    return _with_weights(rows)


def binary(task: JudgedTask, selection: Selection) -> list[Row]:
    """A preferred answer is good, its rival bad."""
    rows = []
    for pair in preference(task, selection):
        rows.append({"prompt": task.prompt, "completion": pair["chosen"], "label": True})
        rows.append({"prompt": task.prompt, "completion": pair["rejected"], "label": False})
    return rows


def binary_from_ratings(task: JudgedTask, selection: Selection) -> list[Row]:
    """Good is an answer whose mean rating reaches the stated threshold."""
    means = [score for score in _mean_ratings(task).values() if score is not None]
    if not means:
        raise LeftOut("no rating")
    label = sum(means) / len(means) >= (selection.threshold or 0.0)
    return [{"prompt": task.prompt, "completion": answer(_only(task)), "label": label}]


def rating(task: JudgedTask, selection: Selection) -> list[Row]:
    """The mean rating of each aspect."""
    return [{"prompt": task.prompt, "completion": answer(_only(task)), **_mean_ratings(task)}]


def ranking(task: JudgedTask, selection: Selection) -> list[Row]:
    """The mean place of each response, 1 the best; those that share a place share the mean of the places they take."""
    places = [_places(vote.body["ranking"]) for vote in task.votes]
    means = [sum(place[response] for place in places) / len(places) for response in task.responses]
    return [{"prompt": task.prompt, "responses": list(task.responses.values()), "ranks": means, "task_id": task.id}]


MAKERS: dict[str, dict[str, Callable[[JudgedTask, Selection], list[Row]]]] = {
    Kind.DEMONSTRATION: {"sft": sft},
    Kind.PREFERENCE: {"preference": preference, "binary": binary},
    Kind.RANKING: {"ranking": ranking, "preference": preference_from_rankings},
    Kind.RATING: {"rating": rating, "binary": binary_from_ratings},
}


def _choice_lead(vote: Vote, first: int) -> tuple[int, float]:
    """Which side the vote is for (1 the first, -1 the second, 0 neither) and how strongly."""
    choice = vote.body["choice"]
    if not isinstance(choice, int):
        return 0, 0.0
    return (1 if choice == first else -1), float(vote.body.get("strength") or 0)


def _rank_lead(vote: Vote, first: int, second: int) -> tuple[int, float]:
    place = {response: index for index, tied in enumerate(vote.body["ranking"]) for response in tied}
    difference = place[second] - place[first]
    return (difference > 0) - (difference < 0), 0.0


def _pair_rows(
    task: JudgedTask, first: int, second: int, leads: list[tuple[int, float]], selection: Selection
) -> list[Row]:
    """The pair's rows, without their weights: one, or one for each vote that is not a tie."""
    if selection.aggregation == "each":
        winners = [side for side, _ in leads if side]
    elif selection.aggregation == "strength":
        # A vote of unknown strength counts as a slight preference.
        total = sum(side * max(strength, 1.0) for side, strength in leads)
        winners = [1 if total > 0 else -1] if total else []
    else:
        total = sum(side for side, _ in leads)
        winners = [1 if total > 0 else -1] if total else []
    if not winners:
        raise LeftOut("tie")
    rows = []
    for winner in winners:
        agreement = sum(side == winner for side, _ in leads) / len(leads)
        if agreement < selection.min_agreement:
            continue
        chosen, rejected = (first, second) if winner > 0 else (second, first)
        margin = winner * sum(side * strength for side, strength in leads) / len(leads)
        rows.append(
            {
                "prompt": task.prompt,
                "chosen": answer(task.responses[chosen]),
                "rejected": answer(task.responses[rejected]),
                "margin": margin,
                "agreement": agreement,
                "weight": 1.0,
                "task_id": task.id,
            }
        )
    if not rows:
        raise LeftOut("low agreement")
    return rows


def _with_weights(rows: list[Row]) -> list[Row]:
    """Each task weighs 1, however many rows it yields."""
    return [row | {"weight": 1 / len(rows)} for row in rows]


def _mean_ratings(task: JudgedTask) -> dict[str, float | None]:
    aspects = {name for vote in task.votes for name in vote.body["ratings"]}
    given = {
        name: [vote.body["ratings"][name] for vote in task.votes if name in vote.body["ratings"]] for name in aspects
    }
    return {name: sum(scores) / len(scores) for name, scores in sorted(given.items())}


def _only(task: JudgedTask) -> str:
    return next(iter(task.responses.values()))


def _places(tied: list[list[int]]) -> dict[int, float]:
    places: dict[int, float] = {}
    taken = 0
    for group in tied:
        places |= dict.fromkeys(group, taken + (len(group) + 1) / 2)
        taken += len(group)
    return places
