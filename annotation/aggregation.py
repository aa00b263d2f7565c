"""What the votes on one task come to: the training rows it yields, or the reason why it yields none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

from annotation.judged import JudgedTask, Selection
from annotation.models import Kind
from annotation.pair_verdicts import BOTH_BAD, LOW, TIE, Lead, LeftOut, choice_lead, rank_lead, sign, verdicts

Row = dict[str, Any]


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
        pairs = _pair_rows(task, first, second, [choice_lead(vote.body, first) for vote in task.votes], selection)
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
        leads = [rank_lead(vote.body, first, second) for vote in task.votes]
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
    leads = [choice_lead(vote.body, first) for vote in task.votes]
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


def _pair_rows(task: JudgedTask, first: int, second: int, leads: list[Lead], selection: Selection) -> list[Row]:
    """The pair's rows, one for each verdict of the votes."""
    least, soft = selection.min_agreement, task.soft.get((first, second))
    found = verdicts(tuple(leads), aggregation=selection.aggregation, ties=selection.ties, least=least, soft=soft)
    rows = []
    for won in found:
        better, worse = (first, second) if won.winner == 1 else (second, first)
        row = _pair(task, task.responses[better], task.responses[worse], won.margin, won.agreement, won.weight)
        rows.append(row if won.posterior is None else row | {"posterior": won.posterior})
    return rows


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
        sign(means[one] - means[other]) == sign(place[one] - place[other]) for place in places for one, other in pairs
    )
    return same / (len(pairs) * len(places))


def _places(tied: list[list[int]]) -> dict[int, float]:
    places: dict[int, float] = {}
    taken = 0
    for group in tied:
        places |= dict.fromkeys(group, taken + (len(group) + 1) / 2)
        taken += len(group)
    return places
