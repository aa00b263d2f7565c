"""Pairs out of ratings: of two rated answers to the same prompt, the one whose mean lies higher by the stated gap."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, groupby
from operator import itemgetter
from typing import Any

from django.db.models import QuerySet

from annotation.aggregation import Row, answer, only, overall, scores
from annotation.judged import PAGE, JudgedTask, Selection, pages, tasks_of
from annotation.models import Annotation, Task
from annotation.pair_verdicts import LOW, LeftOut
from annotation.sameness import prompt_key

Group = list[JudgedTask]

ALONE, CLOSE, SAME = "no other rated answer to its prompt", "gap too small", "same answer"


def groups(rows: QuerySet[Annotation], selection: Selection) -> Iterator[Group]:
    """The judged tasks of one prompt at a time, in an order that depends on the tasks alone."""
    keyed: list[tuple[str, int]] = []
    for ids in pages(rows):
        prompts = Task.objects.filter(pk__in=ids).values_list("pk", "prompt")
        keyed += [(prompt_key(prompt)[:16], task) for task, prompt in prompts]
    keyed.sort()
    waiting: list[list[int]] = []
    for _, members in groupby(keyed, key=itemgetter(0)):
        waiting.append([task for _, task in members])
        if sum(map(len, waiting)) >= PAGE:
            yield from _read(waiting, rows, selection)
            waiting = []
    yield from _read(waiting, rows, selection)


def _read(waiting: list[list[int]], rows: QuerySet[Annotation], selection: Selection) -> Iterator[Group]:
    found = {task.id: task for task in tasks_of([task for ids in waiting for task in ids], rows, selection)}
    for ids in waiting:
        if group := [found[task] for task in ids if task in found]:
            yield group


def pairs(group: Group, selection: Selection) -> list[tuple[Row, JudgedTask, JudgedTask]]:
    """The pairs of one prompt's answers with the tasks of the better and the worse; LeftOut where there is none.

    The margin is the difference of the means; the agreement is the share of pairs of votes, one on each answer, in
    which the better one got more (equal votes count half). All pairs of a prompt share the weight of one task.
    """
    gap = selection.gap or 0.0
    if len(group) < 2:
        raise LeftOut(ALONE)
    found = []
    reasons = set()
    for one, other in combinations(group, 2):
        difference = overall(one, selection) - overall(other, selection)
        better, worse = (one, other) if difference > 0 else (other, one)
        if only(one) == only(other):
            reasons.add(SAME)
        elif abs(difference) < gap or not difference:
            reasons.add(CLOSE)
        elif (share := _share(better, worse, selection)) < selection.min_agreement:
            reasons.add(LOW)
        else:
            found.append((_row(better, worse, abs(difference), share), better, worse))
    if not found:
        raise LeftOut(min(reasons))
    for row, _, _ in found:
        row["weight"] = 1 / len(found)
    return found


def _share(better: JudgedTask, worse: JudgedTask, selection: Selection) -> float:
    high, low = scores(better, selection), scores(worse, selection)
    wins = sum((one > other) + (one == other) / 2 for one in high for other in low)
    return wins / (len(high) * len(low))


def _row(better: JudgedTask, worse: JudgedTask, margin: float, agreement: float) -> dict[str, Any]:
    return {
        "prompt": better.prompt,
        "chosen": answer(only(better)),
        "rejected": answer(only(worse)),
        "margin": margin,
        "agreement": agreement,
        "weight": 1.0,
        "task_id": better.id,
    }
