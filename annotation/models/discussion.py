"""What people say to each other about a task."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.people import SEES_NAMES, User
from annotation.models.projects import Project
from annotation.models.tasks import Task


class CommentQuerySet(models.QuerySet["Comment"]):
    def visible_to(self, user: User) -> Self:
        """All of projects in which one's role sees names, and elsewhere the conversation that is one's own."""
        if user.is_superuser:
            return self
        return self.filter(Q(project__in=Project.objects.with_role(user, SEES_NAMES)) | Q(annotator=user))


class Comment(models.Model):
    """One remark on a task: among reviewers, or between reviewers and the one annotator it names.

    An annotator sees the conversation of their own and nobody's name in it, so nothing of what others said.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comments", db_index=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="comments", db_index=False)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="comments")
    annotator = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="conversations")
    body = models.TextField()
    resolved = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = CommentQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["task", "id"], name="comment_of_task"),
            models.Index(fields=["project", "id"], name="comment_of_project"),
        ]

    def __str__(self) -> str:
        return f"comment on task {self.task_id} by {self.author}"


class Notice(models.Model):
    """One comment in one person's inbox."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notices", db_index=False)
    comment = models.ForeignKey(Comment, on_delete=models.CASCADE, related_name="notices")
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "comment"], name="one_notice_each")]
        indexes = [
            models.Index(fields=["user", "-id"], name="notice_of_user"),
            models.Index(fields=["user"], name="notice_unread", condition=Q(read_at=None)),
        ]

    def __str__(self) -> str:
        return f"notice for {self.user} of comment {self.comment_id}"
