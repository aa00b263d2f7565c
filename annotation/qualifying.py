"""Before an annotator may start: a few tasks whose answer is known, told right or wrong one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.translation import gettext

from annotation import bodies
from annotation.models import Annotation, Assignment, GoldResult, Kind, Membership, Pool, Project, Task
from annotation.standing import is_qualifying
from annotation.writes import write_transaction

ACTIVE, FAILED = Membership.State.ACTIVE, Membership.State.FAILED


@dataclass(frozen=True)
class Feedback:
    """What a person is told after one item of the qualification, in terms of the sides they saw."""

    correct: bool
    expected: dict[str, Any]
    why: str
    done: int
    right: int
    size: int
    state: str  # of the whole: going_on | passed | failed
    words: str  # what was expected, for a person

    @property
    def title(self) -> str:
        if self.correct:
            return gettext("Your last answer was as expected.")
        return gettext("Your last answer was not as expected.")

    @property
    def sentence(self) -> str:
        ends = {"passed": gettext("You passed and may start."), "failed": gettext("You did not pass.")}
        known = "" if self.correct else gettext("Expected: %(words)s.") % {"words": self.words}
        so_far = gettext("%(right)s of %(done)s right so far.") % {"right": self.right, "done": self.done}
        return " ".join(part for part in (known, so_far, ends.get(self.state, ""), self.why) if part)

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "words"}


def count(project: Project, member: Membership, right: bool) -> None:
    """Count one answer, and let its person pass or fail with the last; the caller holds the transaction."""
    done, rights = F("qualification_done") + 1, F("qualification_right") + int(right)
    last = Q(qualification_done__gte=project.qualification_size - 1)
    enough = Q(qualification_right__gte=needed(project) - int(right))
    now = timezone.now()
    Membership.objects.filter(pk=member.pk, qualified_at=None).update(
        qualification_done=done,
        qualification_right=rights,
        qualified_at=Case(When(last & enough, then=Value(now)), default=F("qualified_at")),
        state=Case(When(last & ~enough, then=Value(FAILED.value)), default=F("state")),
    )


def needed(project: Project) -> int:
    """How many of the qualification's answers must be right."""
    exact = project.qualification_bar * project.qualification_size
    return int(exact) + (exact - int(exact) > 1e-9)


def feedback(task: Task, annotation: Annotation) -> Feedback | None:
    """What its annotator is told about this judgement: None unless it was an item of their qualification."""
    if task.pool != Pool.QUALIFICATION or not task.expected:
        return None
    result = GoldResult.objects.filter(task=task, annotator=annotation.annotator_id, qualification=True).first()
    member = Membership.objects.filter(project=task.project_id, user=annotation.annotator_id).first()
    if result is None or member is None:
        return None
    state = "passed" if member.qualified_at else "failed" if member.state == FAILED else "going_on"
    expected = bodies.as_shown(task.project.kind, _complete(task), annotation.shown)
    return Feedback(
        correct=result.correct,
        expected={name: value for name, value in expected.items() if name not in ("rationale", "flags") and value},
        why=str(task.expected.get("rationale") or ""),
        done=member.qualification_done,
        right=member.qualification_right,
        size=task.project.qualification_size,
        state=state,
        words=_in_words(task.project, expected, annotation.shown),
    )


def reset(member: Membership) -> None:
    """Another try from the start: the answers of this one are set aside and its tasks may come again."""
    tasks = Task.objects.filter(project=member.project_id, pool=Pool.QUALIFICATION)
    mine = {"task__in": tasks.values("pk"), "annotator": member.user_id}
    with write_transaction():
        Annotation.objects.standing().filter(**mine).update(status=Annotation.Status.SET_ASIDE)
        Assignment.objects.filter(**mine).delete()
        GoldResult.objects.filter(**mine).delete()
        Membership.objects.filter(pk=member.pk).update(
            state=ACTIVE,
            qualified_at=None,
            qualification_done=0,
            qualification_right=0,
            qualification_try=F("qualification_try") + 1,
        )
        done = tasks.filter(done__gt=0)
        for task in done:
            Task.objects.filter(pk=task.pk).update(done=task.annotations.standing().count())


def admit(member: Membership) -> None:
    """Let somebody start without having passed: the manager knows them."""
    Membership.objects.filter(pk=member.pk).update(state=ACTIVE, qualified_at=timezone.now())


def members_qualifying(project: Project) -> int:
    """How many members still have to pass before they may start."""
    members = project.memberships.all()
    return sum(is_qualifying(one.role, project.qualification_size, one.qualified_at) for one in members)


def _complete(task: Task) -> dict[str, Any]:
    return {"choice": None, "aspects": {}} | dict(task.expected or {})


def _in_words(project: Project, expected: dict[str, Any], shown: list[int]) -> str:
    """The expected answer as a person says it, in terms of the sides shown."""
    if project.kind == Kind.RATING:
        labels = {aspect["name"]: aspect["label"] for aspect in project.questions.get("aspects", [])}
        return ", ".join(f"{labels.get(name, name)} {points}" for name, points in expected.get("ratings", {}).items())
    letter = {response: chr(65 + place) for place, response in enumerate(shown)}
    if project.kind == Kind.RANKING:
        places = [" = ".join(letter.get(one, "?") for one in tied) for tied in expected.get("ranking", [])]
        return gettext(", then ").join(places)
    choice = str(expected.get("choice"))
    return {"a": "A", "b": "B", "tie": gettext("About the same"), "both_bad": gettext("Both bad")}.get(choice, choice)
