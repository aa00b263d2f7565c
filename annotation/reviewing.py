"""A reviewer's decisions: accept the middle, overrule, send back to the annotator, and take a decision back.

Votes are never changed by them, only what counts: see annotation.rulings. Every decision is one short transaction that
first locks the task's row, so that of two reviewers the second is told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import F, Max
from django.utils import timezone
from django.utils.translation import gettext

from annotation import bodies, disputes, repeats, tasks, verdicts
from annotation import gold as gold_answers
from annotation.bodies import BodyError
from annotation.cleaning import CleaningError, clean_text
from annotation.models import Adjudication, Annotation, Assignment, Kind, Response, Task, User
from annotation.models.people import JUDGES
from annotation.questions import questions_of
from annotation.writes import write_transaction

Decision, Status, State = Adjudication.Decision, Annotation.Status, Assignment.State

LONGEST_COMMENT = 2000
RETURN_DAYS = 14  # so long a returned item waits for its annotator; then its place in the queue is free again


class CannotDecide(Exception):
    """This decision cannot be made; the message says why in one sentence."""


class Overtaken(CannotDecide):
    """Somebody decided or judged since this reviewer looked."""


def may_decide(task: Task, user: User) -> bool:
    """Whether the four-eyes rule lets `user` decide on the task: not when they judged it themselves."""
    if not task.project.four_eyes:
        return True
    own = Annotation.objects.filter(task=task, annotator=user).exclude(status=Status.UNDONE)
    return not own.exists()


def seen(task: Task) -> str:
    """What a reviewer has seen of the task; a decision that names it is refused once there is more to see."""
    judged = Annotation.objects.filter(task=task).aggregate(last=Max("pk"))["last"] or 0
    decided = Adjudication.objects.filter(task=task).aggregate(last=Max("pk"))["last"] or 0
    return f"{judged}-{decided}"


def order_of(task: Task) -> list[int]:
    """The task's response ids as a reviewer sees them, A first; the order says nothing about their sources."""
    return list(Response.objects.filter(task=task).order_by("pk").values_list("pk", flat=True))


def votes_on(task: Task) -> list[Annotation]:
    """The standing verdicts, oldest first."""
    return list(Annotation.objects.standing().filter(task=task).select_related("annotator", "guideline").order_by("pk"))


def middle_of(task: Task, votes: list[Annotation] | None = None) -> dict[str, Any] | None:
    """The median of the standing verdicts as a stored body; None where there is none."""
    given = votes_on(task) if votes is None else votes
    ties = bool(questions_of(task.project)["tie"])
    return verdicts.middle(task.project.kind, [vote.body for vote in given], order_of(task), ties=ties)


def accept(
    task: Task,
    by: User,
    *,
    comment: str = "",
    annotation: Annotation | None = None,
    looked_at: str | None = None,
    gold: bool = False,
) -> Adjudication:
    """The votes' own verdict is settled: their median, or of written answers the one that is named.

    With `gold` the task becomes one whose answer is known, and this is the answer.
    """
    looked_at, comment = looked_at or seen(task), _checked(comment)
    votes = votes_on(task)
    if annotation is not None and annotation.pk not in {vote.pk for vote in votes}:
        raise CannotDecide(gettext("That judgment does not stand any more; look at the task again."))
    if task.project.kind == Kind.DEMONSTRATION and annotation is None:
        raise CannotDecide(gettext("Say which of the answers is accepted: two texts have no middle."))
    body = annotation.body if annotation is not None else middle_of(task, votes)
    if body is None:
        raise CannotDecide(gettext("The votes have no middle that is an answer here; overrule instead."))
    act = _making_gold(task, body, comment) if gold else None
    fields = {"body": body, "comment": comment, "annotation": annotation, "makes_gold": gold}
    return _decide(task, by, looked_at, Decision.ACCEPT, act=act, **fields)


def overrule(
    task: Task, by: User, body: object, *, comment: str = "", looked_at: str | None = None, gold: bool = False
) -> Adjudication:
    """The reviewer's own verdict counts. `body` is as an annotator gives it, A and B in the order of `order_of`.

    BodyError names each field that is wrong; the comment is the rationale where one is required. With `gold` the task
    becomes one whose answer is known.
    """
    looked_at, comment = looked_at or seen(task), _checked(comment)
    sent = dict(body) if isinstance(body, dict) else body
    if isinstance(sent, dict) and questions_of(task.project)["rationale"] != "off":
        sent.setdefault("rationale", comment)
    stored = bodies.check(task.project, _completed(task, sent), _shown(task))
    act = _making_gold(task, stored, comment) if gold else None
    return _decide(task, by, looked_at, Decision.OVERRULE, act=act, body=stored, comment=comment, makes_gold=gold)


def send_back(annotation: Annotation, by: User, *, comment: str, looked_at: str | None = None) -> Adjudication:
    """The judgement goes back to its annotator, first in their queue with the comment and their answer as the draft."""
    looked_at, comment = looked_at or seen(annotation.task), _checked(comment)
    if not comment:
        raise BodyError({"comment": gettext("Say what to look at again: the annotator sees nothing else.")})
    _check_reachable(annotation)
    if annotation.status != Status.SUBMITTED:
        raise CannotDecide(gettext("That judgment does not stand any more; look at the task again."))
    fields = {"comment": comment, "annotation": annotation}
    return _decide(annotation.task, by, looked_at, Decision.RETURN, act=lambda: _return(annotation, comment), **fields)


def withdraw(adjudication: Adjudication, by: User) -> Adjudication:
    """A decision taken back by who made it; a judgement that went back stands again unless it was answered since."""
    task = adjudication.task
    if adjudication.reviewer_id != by.pk:
        raise CannotDecide(gettext("Only the reviewer who decided can take a decision back."))
    looked_at = seen(task)
    latest = Adjudication.objects.filter(task=task).order_by("-pk").first()
    if latest is None or latest.pk != adjudication.pk or latest.decision == Decision.WITHDRAW:
        raise CannotDecide(gettext("Only the last decision on a task can be taken back."))
    returned = adjudication.annotation if adjudication.decision == Decision.RETURN else None
    if returned and returned.task.annotations.filter(annotator=returned.annotator, pk__gt=returned.pk).exists():
        raise CannotDecide(gettext("The annotator has answered already, so the return stays."))
    act = (lambda: _take_return_back(returned)) if returned else None
    if adjudication.makes_gold:
        act = lambda: tasks.mark_gold(task, None)  # noqa: E731
    return _decide(task, by, looked_at, Decision.WITHDRAW, act=act, withdraws=adjudication)


def _decide(
    task: Task, by: User, looked_at: str, decision: str, *, act: Callable[[], None] | None = None, **fields: Any
) -> Adjudication:
    """Record the decision and carry it out, unless it may not be made or something happened since `looked_at`."""
    with write_transaction():
        refusal = _refusal(task, by, looked_at)
        if refusal is None:
            if act is not None:
                act()
            made = Adjudication.objects.create(
                project=task.project, task=task, reviewer=by, decision=decision, **fields
            )
    if refusal is not None:
        raise refusal
    disputes.recount(task.project, [task.pk])
    return made


def _refusal(task: Task, by: User, looked_at: str) -> CannotDecide | None:
    if not list(Task.objects.select_for_update().filter(pk=task.pk).values_list("pk")):
        return CannotDecide(gettext("This task is gone."))
    if not may_decide(task, by):
        return CannotDecide(
            gettext("You judged this task yourself, so somebody else must decide on it (four-eyes rule).")
        )
    if looked_at != seen(task):
        return Overtaken(gettext("Somebody decided or judged here meanwhile. Nothing was changed; look again."))
    return None


def _making_gold(task: Task, body: dict[str, Any], comment: str) -> Callable[[], None]:
    """What makes `body` the known answer of a task; the comment is what people are told as the reason."""
    if not gold_answers.comparable(task.project.kind):
        raise CannotDecide(gettext("What somebody writes is never right or wrong, so it cannot be a gold item."))
    if task.is_gold:
        raise CannotDecide(gettext("This is a gold item already."))
    ids = list(task.responses.order_by("position").values_list("pk", flat=True))
    answer = gold_answers.answer_of(task.project.kind, body | {"rationale": comment}, ids)
    return lambda: tasks.mark_gold(task, answer)


def _check_reachable(annotation: Annotation) -> None:
    person = annotation.annotator
    member = person.is_superuser or person.memberships.filter(project=annotation.project_id, role__in=JUDGES).exists()
    if not person.is_active or not member or not annotation.shown:
        raise CannotDecide(
            gettext("%(label)s does not judge here any more, so nothing can go back to them.") % {"label": person.label}
        )


def _return(annotation: Annotation, comment: str) -> None:
    """Lease the task to its annotator again, with the earlier answer as the draft; their vote does not count now."""
    fields = {
        "state": State.LEASED,
        "returned": comment,
        "draft": bodies.as_shown(annotation.kind, annotation.body, annotation.shown),
        "lease_until": timezone.now() + timedelta(days=RETURN_DAYS),
        "leased_at": annotation.created_at,  # earlier than what they hold now, so it is shown first
    }
    seat = Assignment.objects.filter(task=annotation.task_id, annotator=annotation.annotator_id, state=State.SUBMITTED)
    vote = Annotation.objects.standing().filter(pk=annotation.pk)
    if not seat.update(**fields) or not vote.update(status=Status.RETURNED):
        raise Overtaken(gettext("That judgment was changed meanwhile; look at the task again."))
    repeats.drop([annotation])
    Task.objects.filter(pk=annotation.task_id).update(done=F("done") - 1)


def _take_return_back(annotation: Annotation) -> None:
    seats = Assignment.objects.filter(task=annotation.task_id, annotator=annotation.annotator_id, state=State.LEASED)
    vote = Annotation.objects.filter(pk=annotation.pk, status=Status.RETURNED)
    back = {"state": State.SUBMITTED, "draft": None, "returned": ""}
    if not seats.update(**back) or not vote.update(status=Status.SUBMITTED):
        raise CannotDecide(gettext("The time of the returned item ran out, so it cannot be taken back."))
    Task.objects.filter(pk=annotation.task_id).update(done=F("done") + 1)


def _shown(task: Task) -> bodies.Shown:
    """The task as a reviewer has it on display."""
    turns = [place for place, message in enumerate(task.prompt) if message["role"] == "assistant"]
    return bodies.Shown(order_of(task), lambda: dict(task.responses.values_list("pk", "text")), turns)


def _completed(task: Task, sent: Any) -> Any:
    """A reviewer need not answer everything again: aspects and earlier turns left out come from the votes' middle."""
    if not isinstance(sent, dict) or task.project.kind not in (Kind.PREFERENCE, Kind.RATING):
        return sent
    ids = order_of(task)
    between = verdicts.middle(task.project.kind, [vote.body for vote in votes_on(task)], ids)
    if between is None:
        return sent
    middle = bodies.as_shown(task.project.kind, between, ids)
    return {name: middle[name] for name in ("aspects", "turns") if middle.get(name)} | {
        name: value for name, value in sent.items() if value or name not in ("aspects", "turns")
    }


def _checked(comment: str) -> str:
    try:
        return clean_text(comment, "comment", limit=LONGEST_COMMENT).strip()
    except CleaningError as error:
        raise BodyError({"comment": error.message}) from None
