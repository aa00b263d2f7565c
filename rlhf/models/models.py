"""The model registry: base weights and adapters, each with the run that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_noop

from annotation.models import Project, User
from annotation.models.people import READS_DATA


class ModelQuerySet(models.QuerySet["Model"]):
    def visible_to(self, user: User) -> Self:
        """Models of projects whose data `user` may read, and base models that belong to no project."""
        readable = Project.objects.data_readable_by(user)
        if user.is_superuser or user.memberships.filter(role__in=READS_DATA).exists():
            return self.filter(Q(project__in=readable) | Q(project=None))
        return self.none()

    def policies(self) -> Self:
        return self.filter(role=Model.Role.POLICY)

    def reward_models(self) -> Self:
        return self.filter(role=Model.Role.REWARD)


class Model(models.Model):
    """A registry entry: full weights, or an adapter on `parent`."""

    class Role(models.TextChoices):
        POLICY = "policy", gettext_noop("Policy")
        REWARD = "reward", gettext_noop("Reward model")

    class State(models.TextChoices):
        CANDIDATE = "candidate", gettext_noop("Candidate")
        PROMOTED = "promoted", gettext_noop("Promoted")
        REPLACED = "replaced", gettext_noop("Replaced")
        REJECTED = "rejected", gettext_noop("Rejected")

    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.PROTECT, related_name="models")
    name = models.SlugField(max_length=80, unique=True)
    role = models.CharField(max_length=8, choices=Role.choices)
    is_adapter = models.BooleanField(default=False)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )  # what it was trained from
    run = models.OneToOneField("rlhf.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="model")
    path = models.CharField(max_length=300)  # relative to HONE_DATA
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(default=0)  # bytes
    template = models.CharField(max_length=80, blank=True)  # chat template to pass on when the tokenizer has none
    source = models.CharField(max_length=300, blank=True)  # hub id, or where a folder came from
    figures: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True
    )  # from evaluation: accuracy, kl, length, …
    state = models.CharField(max_length=10, choices=State.choices, default=State.CANDIDATE)
    decision: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True
    )  # {"by", "at", "reason"} of the last change of state
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "role"], name="one_promoted_model", condition=Q(state="promoted")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("rlhf:model", args=[self.name])

    @property
    def folder(self) -> Path:
        return Path(settings.HONE_DATA) / self.path

    @property
    def base(self) -> Model:
        """The full weights that this model stands on: itself, or an adapter's nearest full ancestor.

        An adapter trained from an adapter holds both, so loading it needs none of the ancestors in between.
        """
        return self.parent.base if self.is_adapter and self.parent else self
