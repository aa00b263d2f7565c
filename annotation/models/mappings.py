"""What the fields of files become, as somebody said it for files with these fields."""

from __future__ import annotations

from django.db import models

from annotation.models.people import User
from annotation.models.projects import Project


class FieldMapping(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="mappings")
    columns: models.JSONField[list[str], list[str]] = models.JSONField()  # the file's fields, sorted
    digest = models.CharField(max_length=64)  # of the columns
    becomes: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField()  # see annotation.mapping
    said_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    said_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-said_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="mapping_once_for_columns")]

    def __str__(self) -> str:
        return f"mapping of {', '.join(self.columns)}"[:200]
