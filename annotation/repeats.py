"""The same task once more with the sides turned round: it tells how steady a person's own judgement is.

A repeat is no lease of a slot and no annotation, so nothing that counts judgements ever meets it. While it is open it
looks to its annotator like any other task.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from annotation import bodies
from annotation.models import Annotation, Assignment, Pool, Project, RepeatCheck, Task, User

LOOKED_AT = 12  # earlier judgements: gold items among them, and those repeated already, must not use up a turn
OPEN, ANSWERED, SKIPPED = RepeatCheck.State.OPEN, RepeatCheck.State.ANSWERED, RepeatCheck.State.SKIPPED


def begin(project: Project, user: User, *, after: int) -> RepeatCheck | None:
    """A new repeat of the latest judgement at least `after` judgements ago that can be repeated; None without one.

    Which one it is changes with every judgement, and the moment is drawn, so that no task can be told to come again.
    """
    own = Annotation.objects.standing().filter(annotator=user, project=project).order_by("-created_at")
    before = own.select_related("task", "repeat_check")[after - 1 : after - 1 + LOOKED_AT]
    original = next((one for one in before if _may_come_again(one)), None)
    if original is None:
        return None
    check = RepeatCheck(
        project=project, annotator=user, task=original.task, original=original, shown=original.shown[::-1]
    )
    check.save(force_insert=True)
    return check


def _may_come_again(original: Annotation) -> bool:
    return original.task.pool == Pool.QUEUE and not hasattr(original, "repeat_check") and bool(original.shown)


def stand_in(check: RepeatCheck, project: Project, user: User, until: datetime) -> Assignment:
    """The repeat in the shape of a lease; it is never stored."""
    task = check.task
    task.project = project
    return Assignment(
        task=task, project=project, annotator=user, lease_until=until, shown=check.shown, draft=check.draft
    )


def open_one(task_id: int, user: User) -> RepeatCheck | None:
    """The repeat of this task that waits for this person's answer."""
    return RepeatCheck.objects.select_related("task").filter(task=task_id, annotator=user, state=OPEN).first()


def answer(check: RepeatCheck, body: bodies.Body, *, seconds: float | None, **key: Any) -> Annotation:
    """The answer, checked already, kept beside the first one, which is returned as it stands."""
    fields: dict[str, Any] = {"body": body, "seconds": seconds, "draft": None, **key}
    RepeatCheck.objects.filter(pk=check.pk, state=OPEN).update(state=ANSWERED, answered_at=timezone.now(), **fields)
    return check.original


def skip(task: Task, user: User) -> bool:
    """Whether a repeat of this task was open, which is over now."""
    waiting = RepeatCheck.objects.filter(task=task, annotator=user, state=OPEN)
    return bool(waiting.update(state=SKIPPED, draft=None))


def keep_draft(task: Task, user: User, draft: dict[str, Any] | None) -> RepeatCheck | None:
    """The open repeat with `draft` kept."""
    check = open_one(task.pk, user)
    if check is not None:
        RepeatCheck.objects.filter(pk=check.pk, state=OPEN).update(draft=draft)
        check.draft = draft
    return check


def take_back(annotation: Annotation, user: User) -> RepeatCheck | None:
    """The repeat of `annotation` open again with its answer as the draft, if that was this person's last judgement."""
    check = RepeatCheck.objects.select_related("task").filter(original=annotation, annotator=user).first()
    if check is None or check.answered_at is None:
        return None
    if check.state == ANSWERED:
        mine = Annotation.objects.standing().filter(annotator=user, project=check.project_id)
        others = RepeatCheck.objects.filter(annotator=user, project=check.project_id)
        if mine.filter(created_at__gt=check.answered_at).exists() or others.filter(pk__gt=check.pk).exists():
            return None
        check.draft = bodies.as_shown(annotation.kind, check.body or {}, check.shown)
        again = {"state": OPEN, "draft": check.draft, "body": None}  # answered_at stays: this was taken back
        if not RepeatCheck.objects.filter(pk=check.pk, state=ANSWERED).update(**again):
            return None
    return check


def drop(originals: Iterable[Annotation]) -> None:
    """Forget the open repeats of judgements that stand no longer."""
    RepeatCheck.objects.filter(original__in=originals, state=OPEN).delete()
