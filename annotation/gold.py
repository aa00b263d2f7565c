"""Answers to tasks whose answer is known: compared, counted for each person, acted on when too often wrong.

A project that mixes gold in runs the same statements after every judgement, so that not even the time a reply takes
tells which task was a check.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from django.db import connection
from django.db.models import F
from django.utils import timezone

from annotation import judgement_rows
from annotation.bodies import Body
from annotation.models import GoldResult, Kind, Membership, Pool, Project, Role, Task, User

TOLERANCE = 1  # points by which a rating on a scale of more than three may differ

RECORD = """
INSERT INTO annotation_goldresult (project_id, annotator_id, task_id, correct, qualification, created_at)
SELECT task.project_id, %s, task.id, %s, %s, %s FROM annotation_task AS task WHERE task.id = %s AND %s = 1
ON CONFLICT (annotator_id, task_id) DO UPDATE SET correct = excluded.correct, created_at = excluded.created_at
"""


def comparable(kind: str) -> bool:
    """Whether answers of this kind can be right or wrong; what somebody writes cannot."""
    return kind != Kind.DEMONSTRATION


def expected_of(gold: dict[str, Any] | None, ids: list[int]) -> Body | None:
    """The expected judgement with response ids; `gold` speaks of the responses as imported, `ids` are in that order."""
    if gold is None:
        return None
    position = {"a": 0, "b": 1}
    body = {name: value for name, value in gold.items() if name != "highlights"}
    if body.get("choice") in position:
        body["choice"] = position[body["choice"]]
    if "aspects" in body:
        body["aspects"] = {name: position.get(side, side) for name, side in body["aspects"].items()}
    if "ranking" in body:
        body["ranking"] = [
            [_index(name) for name in (place if isinstance(place, list) else [place])] for place in body["ranking"]
        ]
    return judgement_rows.with_ids(body, ids)


def answer_of(kind: str, body: Body, ids: list[int]) -> dict[str, Any]:
    """The opposite of `expected_of`: a stored body as the known answer of a task whose responses as imported are `ids`.

    Aspects of a pair, flags and highlights stay behind: whoever settles an item need not have thought of them.
    """
    told = {name: value for name, value in body.items() if name in ("choice", "strength", "ratings")}
    if kind == Kind.PREFERENCE:
        side = {response: "ab"[place] for place, response in enumerate(ids[:2])}
        told["choice"] = side.get(body["choice"], body["choice"])
    if kind == Kind.RANKING:
        letters = {response: chr(97 + place) for place, response in enumerate(ids)}
        told["ranking"] = [[letters[response] for response in tied] for tied in body["ranking"]]
    return told | ({"rationale": body["rationale"]} if body.get("rationale") else {})


def correct(task: Task, body: Body) -> bool | None:
    """Whether `body` is what was expected; None where nothing was, or where nothing can be compared."""
    expected, kind = task.expected, task.project.kind
    if not task.is_gold or not expected or not comparable(kind):
        return None
    if kind == Kind.RATING:
        return _ratings_match(task.project, expected.get("ratings", {}), body.get("ratings", {}))
    if kind == Kind.RANKING:
        return _ranking_matches(expected.get("ranking", []), body.get("ranking", []))
    aspects = expected.get("aspects", {})
    return body.get("choice") == expected.get("choice") and all(
        body.get("aspects", {}).get(name) == side for name, side in aspects.items()
    )


def resolve(task: Task) -> None:
    """Fill in `expected` where a task became gold without it."""
    if task.is_gold and task.gold and task.expected is None:
        task.expected = expected_of(task.gold, judgement_rows.response_ids([task.pk])[task.pk])
        Task.objects.filter(pk=task.pk).update(expected=task.expected)


def watches(task: Task) -> bool:
    """Whether judging this task is followed by the bookkeeping of checks."""
    return task.is_gold or task.project.gold_share > 0


def record(task: Task, user: User, member: Membership | None, right: bool | None) -> bool:
    """Keep the result of a first answer, and pause who falls under the bar; False when `member` is out of date.

    The caller holds the transaction. Nothing changes where `right` is None, though as many statements run.
    """
    qualification = task.pool == Pool.QUALIFICATION
    with connection.cursor() as cursor:
        values: list[Any] = [user.pk, bool(right), qualification, timezone.now(), task.pk, int(right is not None)]
        cursor.execute(RECORD, values)
    if member is None or qualification:
        return True
    mine = Membership.objects.filter(pk=member.pk)
    if right is None:
        mine.update(gold_done=F("gold_done"))
        return True
    recent = (member.gold_recent + str(int(right)))[-task.project.gold_window :]
    fields: dict[str, Any] = {"gold_done": F("gold_done") + 1, "gold_right": F("gold_right") + int(right)}
    if member.role == Role.ANNOTATOR and falls_short(task.project, recent) and member.state == Membership.State.ACTIVE:
        fields |= {"state": Membership.State.PAUSED, "paused_at": timezone.now()}
    return bool(mine.filter(gold_recent=member.gold_recent).update(gold_recent=recent, **fields))


def falls_short(project: Project, recent: str) -> bool:
    """Whether the latest answers to gold tasks are too often wrong, once there are enough of them."""
    return (
        project.gold_bar > 0
        and len(recent) >= project.gold_window
        and recent.count("1") < project.gold_bar * len(recent)
    )


def forget(task: Task, user: User) -> None:
    """Take back the result of an answer that its annotator took back at once; the caller holds the transaction."""
    result = GoldResult.objects.filter(task=task, annotator=user).first()
    if result is None:
        return
    result.delete()
    member = Membership.objects.filter(project=task.project_id, user=user).first()
    if member is not None and member.gold_recent.endswith(str(int(result.correct))):
        Membership.objects.filter(pk=member.pk, gold_recent=member.gold_recent).update(
            gold_recent=member.gold_recent[:-1],
            gold_done=F("gold_done") - 1,
            gold_right=F("gold_right") - int(result.correct),
        )


def resume(member: Membership) -> None:
    """Let somebody who was paused judge again; what counts against them begins anew."""
    Membership.objects.filter(pk=member.pk, state=Membership.State.PAUSED).update(
        state=Membership.State.ACTIVE, paused_at=None, gold_recent=""
    )


def pause(member: Membership) -> None:
    """Stop handing tasks to this person until somebody lets them go on; what they hold they may still submit."""
    Membership.objects.filter(pk=member.pk, state=Membership.State.ACTIVE).update(
        state=Membership.State.PAUSED, paused_at=timezone.now()
    )


def _index(name: Any) -> Any:
    return ord(name) - 97 if isinstance(name, str) and len(name) == 1 else name


def _ratings_match(project: Project, expected: dict[str, int], given: dict[str, int]) -> bool:
    """Each aspect that has an expected rating within one point of it, or at it on a scale of two or three."""
    points = {aspect["name"]: aspect.get("points", 5) for aspect in project.questions.get("aspects", [])}
    return all(
        name in given and abs(given[name] - wanted) <= (TOLERANCE if points.get(name, 5) > 3 else 0)
        for name, wanted in expected.items()
    )


def _ranking_matches(expected: list[list[int]], given: list[list[int]]) -> bool:
    """No two responses that the expected ranking sets apart are tied or the other way round."""
    wanted = {response: place for place, tied in enumerate(expected) for response in tied}
    got = {response: place for place, tied in enumerate(given) for response in tied}
    return all(
        one in got
        and other in got
        and (wanted[one] < wanted[other]) == (got[one] < got[other])
        and got[one] != got[other]
        for one, other in combinations(wanted, 2)
        if wanted[one] != wanted[other]
    )
