"""Immutable datasets cut from annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_noop

from annotation.models import Project, User


class SnapshotQuerySet(models.QuerySet["Snapshot"]):
    def visible_to(self, user: User) -> Self:
        """Snapshots of projects whose data `user` may read."""
        return self.filter(project__in=Project.objects.data_readable_by(user))


class Snapshot(models.Model):
    """One frozen dataset: a folder named by its content hash, never edited, only superseded."""

    class Type(models.TextChoices):
        SFT = "sft", gettext_noop("Demonstrations")
        PREFERENCE = "preference", gettext_noop("Preferences")
        BINARY = "binary", gettext_noop("Binary")
        RATING = "rating", gettext_noop("Ratings")
        RANKING = "ranking", gettext_noop("Rankings")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="snapshots")
    name = models.SlugField(max_length=80)
    version = models.PositiveIntegerField(default=1)
    type = models.CharField(max_length=12, choices=Type.choices)
    recipe: models.JSONField[Any, Any] = models.JSONField(default=dict)
    counts: models.JSONField[Any, Any] = models.JSONField(
        default=dict
    )  # {"train", "eval", "annotations", "annotators", "left_out": {reason: n}}
    content_hash = models.CharField(max_length=64)  # equal cuts share one folder
    path = models.CharField(max_length=200)  # relative to HONE_DATA
    size = models.PositiveBigIntegerField(default=0)  # bytes
    simulated_share = models.FloatField(default=0.0)  # of its judgements, made by simulated raters
    withdrawn = models.PositiveIntegerField(default=0)  # of its judgements, withdrawn since it was cut
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SnapshotQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["project", "name", "version"], name="snapshot_version_once")]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    def get_absolute_url(self) -> str:
        return reverse("rlhf:snapshot", args=[self.project.slug, self.pk])

    @property
    def rows(self) -> int:
        return int(self.counts.get("train") or 0) + int(self.counts.get("eval") or 0)

    @property
    def folder(self) -> Path:
        return Path(settings.HONE_DATA) / self.path
