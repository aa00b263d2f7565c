"""What tells how reliable a person is: answers to gold tasks, and the same task judged twice."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotation.models.annotations import Annotation
from annotation.models.people import User
from annotation.models.projects import Project
from annotation.models.tasks import Task


class GoldResult(models.Model):
    """Whether one person's first answer to one gold task was the expected one."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="gold_results", db_index=False)
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="gold_results", db_index=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="gold_results")
    correct = models.BooleanField()
    qualification = models.BooleanField(default=False)  # an item of the qualification, not a hidden check
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "task"], name="one_gold_result_each")]
        indexes = [models.Index(fields=["project", "annotator", "id"], name="gold_of_annotator")]

    def __str__(self) -> str:
        return f"{self.annotator} was {'right' if self.correct else 'wrong'} on task {self.task_id}"


class RepeatCheckQuerySet(models.QuerySet["RepeatCheck"]):
    def answered(self) -> Self:
        return self.filter(state=RepeatCheck.State.ANSWERED)


class RepeatCheck(models.Model):
    """One person's own task shown to them again with the sides turned round.

    It is no annotation, so that it never counts as a second vote: `body` (with response ids, like an annotation's)
    stands beside that of `original`.
    """

    class State(models.TextChoices):
        OPEN = "open", gettext_noop("Open")
        ANSWERED = "answered", gettext_noop("Answered")
        SKIPPED = "skipped", gettext_noop("Skipped")

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="repeat_checks", db_index=False)
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="repeat_checks", db_index=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="repeat_checks")
    original = models.OneToOneField(Annotation, on_delete=models.CASCADE, related_name="repeat_check")
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    shown: models.JSONField[Any, Any] = models.JSONField(default=list)
    draft: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    body: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=80, null=True, blank=True)
    key_digest = models.BigIntegerField(null=True, blank=True)  # of the body that came with the key
    created_at = models.DateTimeField(default=timezone.now)
    answered_at = models.DateTimeField(null=True, blank=True)

    objects = RepeatCheckQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "annotator"], name="one_open_repeat", condition=Q(state="open")),
            models.UniqueConstraint(fields=["annotator", "idempotency_key"], name="repeat_key_once"),
        ]
        indexes = [models.Index(fields=["project", "annotator", "id"], name="repeat_of_annotator")]

    def __str__(self) -> str:
        return f"{self.annotator} judges task {self.task_id} again ({self.state})"
