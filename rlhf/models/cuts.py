"""Snapshots that take too long to cut while somebody waits."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotation.models import Project, User
from rlhf.models.snapshots import Snapshot


class Cut(models.Model):
    """One snapshot being cut by the worker; `problem` and `field` are a SnapshotError's."""

    class State(models.TextChoices):
        QUEUED = "queued", gettext_noop("Queued")
        RUNNING = "running", gettext_noop("Cutting")
        SUCCEEDED = "succeeded", gettext_noop("Cut")
        FAILED = "failed", gettext_noop("Failed")

    LIVE = (State.QUEUED, State.RUNNING)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="cuts")
    name = models.CharField(max_length=80)
    type = models.CharField(max_length=12, choices=Snapshot.Type.choices)
    recipe: models.JSONField[Any, Any] = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="+")
    field = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"cut of {self.name} in {self.project}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE
