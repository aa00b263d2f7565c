"""What a person is told of the hidden checks they met, where the project tells at all: a day later, never before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Max, QuerySet
from django.utils import timezone

from annotation import intervals, reviewing, wording
from annotation.models import Annotation, GoldResult, Project, User

AFTER = timedelta(hours=24)  # so that no answer given in knowledge of the result can take the place of the first
MOST = 5  # missed items that are told


@dataclass(frozen=True)
class Missed:
    """One hidden check that was answered otherwise than expected; A and B as this person saw them."""

    task_id: int
    prompt: str
    project: Project
    said: tuple[str, str]
    expected: tuple[str, str]
    why: str


@dataclass(frozen=True)
class Feedback:
    share: dict[str, Any]  # right, with its interval
    right: int
    missed: list[Missed]
    bar: float  # the highest of the projects' bars; 0 where nobody is paused

    @property
    def missed_count(self) -> int:
        return int(self.share["n"]) - self.right


def of(user: User) -> Feedback | None:
    """What `user` may know of their checks in the projects that tell them; None where there is nothing to tell."""
    told_of = told(user)
    right, of_all = told_of.filter(correct=True).count(), told_of.count()
    share = intervals.wilson(right, of_all)
    if share is None:
        return None
    wrong = told_of.filter(correct=False).select_related("task", "project").order_by("-pk")[:MOST]
    missed = [one for result in wrong if (one := _missed(result)) is not None]
    return Feedback(share, right, missed, max(_telling(user).values_list("gold_bar", flat=True), default=0.0))


def told(user: User) -> QuerySet[GoldResult]:
    """The checks whose results `user` may know."""
    results = GoldResult.objects.filter(annotator=user, project__in=_telling(user), qualification=False)
    return results.filter(created_at__lt=timezone.now() - AFTER).exclude(task__in=_latest(user))


def _telling(user: User) -> QuerySet[Project]:
    return Project.objects.visible_to(user).filter(gold_feedback=True, is_archived=False)


def _latest(user: User) -> list[int]:
    """The tasks of the last judgement in each project, which may still be taken back."""
    last = Annotation.objects.filter(annotator=user).values("project").annotate(last=Max("pk")).values("last")
    return list(Annotation.objects.filter(pk__in=last).values_list("task", flat=True))


def _missed(result: GoldResult) -> Missed | None:
    task = result.task
    given = Annotation.objects.filter(task=task, annotator=result.annotator_id).order_by("pk").first()
    if given is None or not task.expected:
        return None
    order = given.shown or reviewing.order_of(task)
    expected = {"choice": None, "aspects": {}} | task.expected
    return Missed(
        task.pk,
        task.title,
        result.project,
        wording.answer_in_words(given),
        wording.in_words(given.kind, expected, order),
        str(task.expected.get("rationale") or ""),
    )
