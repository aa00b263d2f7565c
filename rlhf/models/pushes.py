"""Snapshots on their way to the Hugging Face hub."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotation.models import User
from rlhf.models.snapshots import Snapshot


class Push(models.Model):
    """One try to put a snapshot's folder into a dataset repository; the worker carries it out."""

    class State(models.TextChoices):
        QUEUED = "queued", gettext_noop("Queued")
        RUNNING = "running", gettext_noop("Pushing")
        SUCCEEDED = "succeeded", gettext_noop("Pushed")
        FAILED = "failed", gettext_noop("Failed")

    LIVE = (State.QUEUED, State.RUNNING)

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="pushes")
    repository = models.CharField(max_length=200)
    public = models.BooleanField(default=False)  # what a new repository becomes
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    address = models.URLField(max_length=500, blank=True)  # of the commit
    problem = models.TextField(blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["snapshot", "repository"],
                condition=models.Q(state__in=["queued", "running"]),
                name="one_live_push_of_a_snapshot_to_a_repository",
            )
        ]

    def __str__(self) -> str:
        return f"{self.snapshot} to {self.repository}"

    @property
    def is_live(self) -> bool:
        return self.state in self.LIVE
