"""Judgements, append-only: a correction is a new revision and the old one stays."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotation.models.people import SEES_NAMES, User
from annotation.models.projects import GuidelineVersion, Kind, Project
from annotation.models.tasks import Task


class AnnotationQuerySet(models.QuerySet["Annotation"]):
    def standing(self) -> Self:
        """The revisions that count: the latest of each person and task, unless taken back or returned."""
        return self.filter(status=Annotation.Status.SUBMITTED)

    def visible_to(self, user: User) -> Self:
        """One's own, and everybody's in projects where one's role sees names."""
        if user.is_superuser:
            return self
        return self.filter(Q(annotator=user) | Q(project__in=Project.objects.with_role(user, SEES_NAMES)))


class Annotation(models.Model):
    """One submitted judgement.

    `body` is stored with response ids in place of the sides as shown:
    preference {"choice": id | "tie" | "both_bad", "strength": 0..3, "aspects": {name: id | "tie"}, "flags": [name],
    "rationale": str, "improved"?: str}; ranking {"ranking": [[id, …], …]}; rating {"ratings": {aspect: int},
    "turns"?: {place in the prompt: {aspect: int}}}; demonstration {"text": str}. All may have "reasons": [name] and
    "highlights": [{"response", "start", "end", "reason", "text"}].
    """

    class Status(models.TextChoices):
        SUBMITTED = "submitted", gettext_noop("Submitted")
        UNDONE = "undone", gettext_noop("Taken back")
        REPLACED = "replaced", gettext_noop("Replaced by a later revision")
        RETURNED = "returned", gettext_noop("Returned to the annotator")
        SET_ASIDE = "set_aside", gettext_noop("Set aside, judged again by others")

    # The constraints and indexes below begin with these three, so none has an index of its own.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="annotations", db_index=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="annotations", db_index=False)
    annotator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    revision = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.SUBMITTED)
    body: models.JSONField[Any, Any] = models.JSONField()
    shown: models.JSONField[Any, Any] = models.JSONField(default=list)  # response ids in the order shown
    seconds = models.FloatField(null=True, blank=True)  # active time on the task
    guideline = models.ForeignKey(GuidelineVersion, null=True, on_delete=models.PROTECT, related_name="annotations")
    idempotency_key = models.CharField(max_length=80, null=True, blank=True)
    key_digest = models.BigIntegerField(null=True, blank=True)  # of the body that came with the key
    created_at = models.DateTimeField(default=timezone.now)

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "annotator", "revision"], name="annotation_revision_once"),
            models.UniqueConstraint(
                fields=["task", "annotator"], name="one_standing_annotation", condition=Q(status="submitted")
            ),
            models.UniqueConstraint(fields=["annotator", "idempotency_key"], name="idempotency_key_once"),
        ]
        indexes = [
            models.Index(fields=["project", "id"], name="annotation_of_project"),
            models.Index(fields=["project", "task"], name="annotation_of_project_task"),
            models.Index(fields=["annotator", "project", "-created_at"], name="annotation_of_annotator"),
            models.Index(fields=["annotator", "status", "-created_at", "-id"], name="annotation_history"),
            models.Index(fields=["project", "created_at"], name="annotation_by_time"),
        ]

    def __str__(self) -> str:
        return f"annotation {self.pk} of task {self.task_id}, revision {self.revision}"
