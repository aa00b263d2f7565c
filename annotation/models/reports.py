"""Figures that are too dear for a page request, kept until the judgements behind them change."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone

from annotation.models.projects import Project


class QualityReport(models.Model):
    """One project's quality, or its agreement as somebody asked for it (`key`), as it was at `computed_at`."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quality_reports")
    key = models.CharField(max_length=500, blank=True)  # the query of an agreement; "" is the whole report
    data: models.JSONField[Any, Any] = models.JSONField(default=dict)
    watermark: models.JSONField[Any, Any] = models.JSONField(default=dict)  # of the judgements and tasks behind it
    computed_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(default=0.0)  # that the last computation took
    asked_at = models.DateTimeField(default=timezone.now)  # when somebody last looked
    queued_at = models.DateTimeField(null=True, blank=True)  # a refresh is waiting or running
    problem = models.CharField(max_length=300, blank=True)  # why the last refresh failed

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="one_report_per_question")]

    def __str__(self) -> str:
        return f"quality of {self.project}, {self.key or 'all of it'}"
