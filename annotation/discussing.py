"""Talking about a task: among reviewers, or between them and one annotator, who learns no name or verdict there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext

from annotation.cleaning import CleaningError, clean_text
from annotation.models import Comment, Notice, Task, User
from annotation.models.people import SEES_NAMES
from annotation.writes import write_transaction

LONGEST = 4000
MOST_TOLD = 50  # people told of one comment
MENTION = re.compile(r"(?<![\w.@+-])@([\w.@+-]*\w)")


class CannotSay(Exception):
    """This cannot be said here, in one sentence."""


@dataclass(frozen=True)
class Line:
    """One comment as a certain reader sees it."""

    comment: Comment
    who: str
    to: str  # the annotator whose conversation it is in, for reviewers
    own: bool


def say(task: Task, by: User, text: str, *, to: User | None = None) -> Comment:
    """A new comment, told to whom it concerns. `task.project.my_role` is the author's role.

    A reviewer speaks to the other reviewers, or `to` an annotator who had the task; an annotator to the reviewers.
    """
    try:
        body = clean_text(text, "body", limit=LONGEST).strip()
    except CleaningError as error:
        raise CannotSay(error.message) from None
    if not body:
        raise CannotSay(gettext("Write something first."))
    reviews = task.project.my_role in SEES_NAMES
    partner = to if reviews else by
    if partner is not None and not task.assignments.filter(annotator=partner).exists():
        raise CannotSay(gettext("Only people who had this item can be asked about it."))
    with write_transaction():
        comment = Comment.objects.create(project=task.project, task=task, author=by, annotator=partner, body=body)
        told = _concerned(comment, reviews)
        Notice.objects.bulk_create([Notice(user=person, comment=comment) for person in told], ignore_conflicts=True)
    return comment


def unheard(comment: Comment) -> list[str]:
    """The names that a comment mentions of people who were not told, because they do not review here."""
    told = set(comment.notices.values_list("user__username", flat=True)) | {comment.author.username}
    return [name for name in dict.fromkeys(MENTION.findall(comment.body)) if name not in told]


def lines(task: Task, reader: User) -> list[Line]:
    """The comments on the task that `reader` may see, oldest first; for an annotator every reviewer has one name."""
    reviews = task.project.my_role in SEES_NAMES
    rows = Comment.objects.filter(task=task).select_related("author", "annotator").order_by("pk")
    if not reviews:
        rows = rows.filter(annotator=reader)
    return [
        Line(
            comment=row,
            who=gettext("You") if row.author_id == reader.pk else row.author.label if reviews else gettext("Reviewer"),
            to=row.annotator.label if reviews and row.annotator and row.annotator_id != row.author_id else "",
            own=row.author_id == reader.pk,
        )
        for row in rows
    ]


def resolve(comment: Comment, *, resolved: bool) -> None:
    """Mark a comment as dealt with, or not."""
    Comment.objects.filter(pk=comment.pk).update(resolved=resolved)


def unread(user: User) -> int:
    """How many comments wait in the person's inbox."""
    return Notice.objects.filter(user=user, read_at=None).count()


def inbox(user: User) -> QuerySet[Notice]:
    """The person's notices, newest first; of comments that they may no longer see none."""
    visible = Comment.objects.visible_to(user).values("pk")
    rows = Notice.objects.filter(user=user, comment__in=visible)
    return rows.select_related("comment__task__project", "comment__author").order_by("-pk")


def mark_read(notices: list[Notice]) -> None:
    unseen = [notice.pk for notice in notices if notice.read_at is None]
    Notice.objects.filter(pk__in=unseen, read_at=None).update(read_at=timezone.now())


def _concerned(comment: Comment, by_reviewer: bool) -> list[User]:
    """Whom a comment is told to: those it mentions who may read it, the annotator it speaks to, or the reviewers."""
    people = User.objects.filter(is_active=True).exclude(pk=comment.author_id)
    reviewers = Q(memberships__project=comment.project_id, memberships__role__in=SEES_NAMES)
    named = people.filter(reviewers | Q(is_superuser=True), username__in=MENTION.findall(comment.body))
    told = {person.pk: person for person in named.distinct()[:MOST_TOLD]}
    if by_reviewer and comment.annotator is not None and comment.annotator.is_active:
        told[comment.annotator.pk] = comment.annotator
    if not by_reviewer:
        earlier = Comment.objects.filter(task=comment.task_id, annotator=comment.annotator_id).values("author")
        partners = list(people.filter(reviewers, pk__in=earlier).distinct()[:MOST_TOLD])
        partners = partners or list(people.filter(reviewers).distinct()[:MOST_TOLD])
        told |= {person.pk: person for person in partners}
    told.pop(comment.author_id, None)
    return list(told.values())
