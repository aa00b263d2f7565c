"""Data that may not be used any more: whose, on whose word, and why."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotation.models.people import SEES_NAMES, User
from annotation.models.projects import Project
from annotation.models.tasks import Task


class WithdrawalQuerySet(models.QuerySet["Withdrawal"]):
    def visible_to(self, user: User) -> Self:
        """Those of projects in which one's role sees names."""
        return self.filter(project__in=Project.objects.with_role(user, SEES_NAMES))


class Withdrawal(models.Model):
    """One annotator's judgements, or all judgements on one prompt, taken out of what is exported and cut from now on.

    Append-only: nothing is deleted and nothing comes back. `effects` is what had been made of the data by then.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="withdrawals")
    annotator = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawals")
    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawals")
    prompt_key = models.CharField(max_length=64, blank=True)  # see sameness: also of tasks imported later
    reason = models.TextField()
    effects: models.JSONField[Any, Any] = models.JSONField(default=dict)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    objects = WithdrawalQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(annotator__isnull=False, prompt_key="") | (Q(annotator__isnull=True) & ~Q(prompt_key="")),
                name="a_withdrawal_is_of_a_person_or_a_prompt",
            ),
        ]

    def __str__(self) -> str:
        return f"withdrawal {self.pk} in {self.project}"
