"""Queue rules that changed while there were too many tasks to change them all at once."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q

from annotation.models.people import User
from annotation.models.projects import Project


class RuleChangeQuerySet(models.QuerySet["RuleChange"]):
    def under_way(self) -> Self:
        """Changes that have not reached every task yet, those that come first at the front."""
        return self.filter(finished_at=None).order_by("pk")


class RuleChange(models.Model):
    """Rules that hold for new tasks at once; the tasks that were there get them in the order of their ids."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rule_changes")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    before: models.JSONField[Any, Any] = models.JSONField()  # annotation.rule_changes.Rules
    after: models.JSONField[Any, Any] = models.JSONField()
    upto = models.BigIntegerField()  # the last task that there was
    reached = models.BigIntegerField(default=0)  # the last task that has the new rules
    seen = models.PositiveIntegerField(default=0)  # tasks up to `reached`
    total = models.PositiveIntegerField(null=True, blank=True)  # tasks up to `upto`; unknown until they are counted
    heartbeat = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RuleChangeQuerySet.as_manager()

    class Meta:
        indexes = [models.Index("project", "id", name="rule_change_under_way", condition=Q(finished_at__isnull=True))]

    def __str__(self) -> str:
        return f"new rules of {self.project}"
