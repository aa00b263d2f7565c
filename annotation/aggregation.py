"""What the votes on one task come to: the training rows it yields, or the reason why it yields none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

from annotation.judged import JudgedTask, Selection, Vote
from annotation.models import Kind

Row = dict[str, Any]
Lead = tuple[int, float]  # which side a vote is for (1 the first, -1 the second, 0 neither) and how strongly


class LeftOut(Exception):
    """The task yields nothing; the message is the reason, the same words for the same reason."""


BOTH_BAD, TIE, LOW = "both bad", "tie", "low agreement"


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def sft(task: JudgedTask, selection: Selection) -> list[Row]:
    """Each written answer is a demonstration."""
    return [{"prompt": task.prompt, "completion": answer(vote.body["text"])} for vote in task.votes]


def sft_from_edits(task: JudgedTask, selection: Selection) -> list[Row]:
    """Each answer that a judge improved is a demonstration."""
    texts = [vote.body["improved"] for vote in task.votes if vote.body.get("improved")]
    if not texts:
        raise LeftOut("no improved answer")
    return [{"prompt": task.prompt, "completion": answer(text)} for text in texts]


def preference(task: JudgedTask, selection: Selection) -> list[Row]:
    """The pair that the votes prefer, and each improved answer over what it was made from."""
    first, second = task.responses
    edits = _edits(task) if selection.improved == "keep" else []
    try:
        pairs = _pair_rows(task, first, second, [choice_lead(vote, first) for vote in task.votes], selection)
    except LeftOut:
        if not edits:
            raise
        pairs = []
    return _with_weights([*pairs, *edits])


def preference_from_rankings(task: JudgedTask, selection: Selection) -> list[Row]:
    """All pairs of a ranking that the votes do not leave tied, sharing the weight of one task."""
    rows: list[Row] = []
    reasons = []
    for first, second in combinations(task.responses, 2):
        leads = [rank_lead(vote, first, second) for vote in task.votes]
        try:
            rows += _pair_rows(task, first, second, leads, selection)
        except LeftOut as reason:
            reasons.append(str(reason))
    if not rows:
        raise LeftOut(LOW if LOW in reasons else TIE)
    return _with_weights(rows)


def binary(task: JudgedTask, selection: Selection) -> list[Row]:
    """A preferred answer is good, its rival bad; where most say that both are bad, both are."""
    first, second = task.responses
    leads = [choice_lead(vote, first) for vote in task.votes]
    try:
        pairs = _pair_rows(task, first, second, leads, replace(selection, ties="drop"))
    except LeftOut as reason:
        if str(reason) != BOTH_BAD:
            raise
        return [{"prompt": task.prompt, "completion": answer(text), "label": False} for text in task.responses.values()]
    rows = []
    for pair in pairs:
        rows.append({"prompt": task.prompt, "completion": pair["chosen"], "label": True})
        rows.append({"prompt": task.prompt, "completion": pair["rejected"], "label": False})
    return rows


def binary_from_ratings(task: JudgedTask, selection: Selection) -> list[Row]:
    """Good is an answer whose mean rating reaches the stated threshold."""
    threshold = selection.threshold or 0.0
    rows = []
    for part in _portions(task, selection):
        try:
            label = overall(part, selection) >= threshold
        except LeftOut:
            if part is task:
                raise
            continue  # this judge did not rate the chosen aspect
        sides = [score >= threshold for score in scores(part, selection)]
        if sides.count(label) / len(sides) >= selection.min_agreement:
            rows.append({"prompt": task.prompt, "completion": answer(only(task)), "label": label})
    if not rows:
        raise LeftOut(LOW)
    return rows


def rating(task: JudgedTask, selection: Selection) -> list[Row]:
    """The mean rating of each aspect, or each judge's ratings."""
    return [
        {"prompt": task.prompt, "completion": answer(only(task)), **mean_ratings(part)}
        for part in _portions(task, selection)
    ]


def ranking(task: JudgedTask, selection: Selection) -> list[Row]:
    """The mean place of each response, 1 the best; those that share a place share the mean of the places they take."""
    rows: list[Row] = []
    reasons = set()
    for part in _portions(task, selection):
        places = [_places(vote.body["ranking"]) for vote in part.votes]
        means = {response: sum(place[response] for place in places) / len(places) for response in task.responses}
        agreement = _share_in_order(means, places)
        if len(set(means.values())) == 1 and selection.ties == "drop":
            reasons.add(TIE)
        elif agreement < selection.min_agreement:
            reasons.add(LOW)
        else:
            said = {"responses": list(task.responses.values()), "ranks": list(means.values()), "agreement": agreement}
            rows.append({"prompt": task.prompt, **said, "weight": 1.0, "task_id": task.id})
    if not rows:
        raise LeftOut(min(reasons))
    return _with_weights(rows)


Maker = Callable[[JudgedTask, Selection], list[Row]]
# What each kind of project yields from a task alone; ratings also give pairs, from several: see rating_pairs.
MAKERS: dict[str, dict[str, Maker]] = {
    Kind.DEMONSTRATION: {"sft": sft},
    Kind.PREFERENCE: {"preference": preference, "binary": binary, "sft": sft_from_edits},
    Kind.RANKING: {"ranking": ranking, "preference": preference_from_rankings},
    Kind.RATING: {"rating": rating, "binary": binary_from_ratings},
}


def overall(task: JudgedTask, selection: Selection) -> float:
    """The mean rating of the chosen aspect, or of all aspects together; LeftOut where nobody rated."""
    means = mean_ratings(task)
    wanted = means.values() if selection.aspect is None else [means.get(selection.aspect)]
    found = [score for score in wanted if score is not None]
    if not found:
        raise LeftOut("no rating")
    return sum(found) / len(found)


def scores(task: JudgedTask, selection: Selection) -> list[float]:
    """The mean rating that each judge gave; those who did not rate the chosen aspect are passed over."""
    found = []
    for vote in task.votes:
        try:
            found.append(overall(task._replace(votes=[vote]), selection))
        except LeftOut:
            continue
    return found


def mean_ratings(task: JudgedTask) -> dict[str, float | None]:
    given: dict[str, list[int]] = {}
    for vote in task.votes:
        for name, score in vote.body["ratings"].items():
            given.setdefault(name, []).append(score)
    return {name: sum(scores) / len(scores) for name, scores in sorted(given.items())}


def only(task: JudgedTask) -> str:
    return next(iter(task.responses.values()))


def _portions(task: JudgedTask, selection: Selection) -> list[JudgedTask]:
    """The task with all its votes, or once for each vote."""
    return [task] if selection.aggregation != "each" else [task._replace(votes=[vote]) for vote in task.votes]


def _edits(task: JudgedTask) -> list[Row]:
    """Each improved answer over the answer that was improved."""
    rows = []
    for vote in task.votes:
        if not (text := vote.body.get("improved")):
            continue
        choice = vote.body.get("choice")
        if isinstance(choice, int) and text != task.responses[choice]:
            row = _pair(task, text, task.responses[choice], margin=0.0, agreement=1.0, weight=1.0)
            rows.append(row | {"posterior": 1.0} if task.soft else row)
    return rows


def choice_lead(vote: Vote, first: int) -> Lead:
    body = vote.body
    choice = body["choice"]
    if not isinstance(choice, int):
        return 0, -1.0 if choice == "both_bad" else 0.0
    return (1 if choice == first else -1), float(body.get("strength") or 0)


def rank_lead(vote: Vote, first: int, second: int) -> Lead:
    place = {response: index for index, tied in enumerate(vote.body["ranking"]) for response in tied}
    difference = place[second] - place[first]
    return _sign(difference), 0.0


def _pair_rows(task: JudgedTask, first: int, second: int, leads: list[Lead], selection: Selection) -> list[Row]:
    """The pair's rows: one, one for each vote, or one for each side of a tie that is kept as half and half."""
    soft = task.soft.get((first, second))
    verdicts = _verdicts(leads, soft, selection.aggregation)
    if not any(verdicts):
        neither = [strength for side, strength in leads if not side]
        if sum(1 for strength in neither if strength < 0) * 2 > len(neither):
            raise LeftOut(BOTH_BAD)
        if selection.ties == "drop":
            raise LeftOut(TIE)
    sides = [side for side, _ in leads]
    lead = sum([side * strength for side, strength in leads if side]) / len(leads)
    rows = []
    for verdict in verdicts:
        if not verdict and selection.ties == "drop":
            continue
        for winner in (verdict,) if verdict else (1, -1):
            better, worse = (first, second) if winner == 1 else (second, first)
            share = sides.count(winner) / len(sides) if verdict else 0.5
            margin, weight = (winner * lead, 1.0) if verdict else (0.0, 0.5)
            row = _pair(task, task.responses[better], task.responses[worse], margin, share, weight)
            if soft:
                row["posterior"] = share = soft[1 - winner] + soft[1] / 2
            if share >= selection.min_agreement:
                rows.append(row)
    if not rows:
        raise LeftOut(LOW)
    return rows


def _verdicts(leads: list[Lead], soft: Any, aggregation: str) -> list[int]:
    """Who won (1 the first, -1 the second, 0 neither), once or for each vote."""
    if aggregation == "each":
        return [side for side, _ in leads]
    if aggregation == "posterior":
        first, neither, second = soft
        return [0] if neither >= max(first, second) or first == second else [1 if first > second else -1]
    if aggregation == "strength":
        # A vote of unknown strength counts as a slight preference.
        total = sum(side * max(strength, 1.0) for side, strength in leads)
    else:
        total = sum([side for side, _ in leads])
    return [_sign(total)]


def _pair(task: JudgedTask, chosen: str, rejected: str, margin: float, agreement: float, weight: float) -> Row:
    return {
        "prompt": task.prompt,
        "chosen": answer(chosen),
        "rejected": answer(rejected),
        "margin": margin,
        "agreement": agreement,
        "weight": weight,
        "task_id": task.id,
    }


def _with_weights(rows: list[Row]) -> list[Row]:
    """Each task weighs 1, however many rows it yields."""
    if len(rows) == 1:
        rows[0]["weight"] = 1.0
        return rows
    whole = sum([row["weight"] for row in rows])
    for row in rows:
        row["weight"] /= whole
    return rows


def _share_in_order(means: dict[int, float], places: list[dict[int, float]]) -> float:
    """The share of the judges who order two responses as the mean places do, on average over all pairs."""
    pairs = list(combinations(means, 2))
    same = sum(
        _sign(means[one] - means[other]) == _sign(place[one] - place[other]) for place in places for one, other in pairs
    )
    return same / (len(pairs) * len(places))


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


def _places(tied: list[list[int]]) -> dict[int, float]:
    places: dict[int, float] = {}
    taken = 0
    for group in tied:
        places |= dict.fromkeys(group, taken + (len(group) + 1) / 2)
        taken += len(group)
    return places
