"""Links that let somebody in."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from annotation.models.people import Role, User
from annotation.models.projects import Project


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> Self:
        """Links that still let somebody in."""
        return self.filter(expires_at__gt=timezone.now(), revoked=False, uses__lt=F("most_uses"))


class Invitation(models.Model):
    """A link into a project in one role: only its hash is kept, it expires, and it counts who came through it."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=16, choices=Role.choices)
    digest = models.CharField(max_length=64, unique=True)
    uses = models.PositiveIntegerField(default=0)
    most_uses = models.PositiveIntegerField(default=1)
    revoked = models.BooleanField(default=False)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role_known"),
            models.CheckConstraint(condition=Q(uses__lte=F("most_uses")), name="invitation_not_overused"),
        ]

    def __str__(self) -> str:
        return f"invitation to {self.project} as {self.role}"


class GuidelineReading(models.Model):
    """The version of a project's guidelines that a person has read last, as they said themselves."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="guideline_readings")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_readings")
    number = models.PositiveIntegerField()
    read_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "project"], name="one_reading_per_person_and_project")]

    def __str__(self) -> str:
        return f"{self.user} has read version {self.number}"
