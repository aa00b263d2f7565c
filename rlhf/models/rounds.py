"""One turn of the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop

from annotation.models import Project, User


class RoundQuerySet(models.QuerySet["Round"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(project__in=Project.objects.data_readable_by(user))

    def open(self) -> Self:
        return self.exclude(state__in=Round.ENDED)


class Round(models.Model):
    """Generate, label, snapshot, reward model, policy, evaluate, promote: what was planned and how far it is."""

    class State(models.TextChoices):
        GENERATE = "generate", gettext_noop("Generating")
        LABEL = "label", gettext_noop("Labeling")
        SNAPSHOT = "snapshot", gettext_noop("Cutting the snapshot")
        REWARD = "reward", gettext_noop("Training the reward model")
        POLICY = "policy", gettext_noop("Training the policy")
        EVALUATE = "evaluate", gettext_noop("Evaluating")
        COMPARE = "compare", gettext_noop("People compare")
        DECIDE = "decide", gettext_noop("Waiting for a decision")
        PROMOTED = "promoted", gettext_noop("Promoted")
        REJECTED = "rejected", gettext_noop("Rejected")
        ABANDONED = "abandoned", gettext_noop("Abandoned")

    ENDED = (State.PROMOTED, State.REJECTED, State.ABANDONED)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="rounds")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.GENERATE)
    plan: models.JSONField[Any, Any] = models.JSONField(default=dict)  # see rlhf.rounds.Plan
    start_model = models.ForeignKey(
        "rlhf.Model", on_delete=models.PROTECT, related_name="rounds_started"
    )  # policy that generates and is improved
    base_model = models.ForeignKey(
        "rlhf.Model", on_delete=models.PROTECT, related_name="+"
    )  # what every policy is compared with
    snapshot = models.ForeignKey(
        "rlhf.Snapshot", null=True, blank=True, on_delete=models.PROTECT, related_name="rounds"
    )
    reward_model = models.ForeignKey("rlhf.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    promoted_model = models.ForeignKey(
        "rlhf.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="rounds_won"
    )
    evaluation: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True
    )  # per policy: preferred, kl, length, …
    problem = models.TextField(blank=True)  # why it cannot go on by itself, in one sentence
    decision: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True
    )  # {"by", "at", "reason"}, with the "step" that it had come to when it was abandoned
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RoundQuerySet.as_manager()

    class Meta:
        ordering = ["-number", "-pk"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="round_number_once")]

    def __str__(self) -> str:
        return gettext("Round %(number)s") % {"number": self.number}

    def get_absolute_url(self) -> str:
        return reverse("rlhf:loop", args=[self.project.slug])

    @property
    def folder(self) -> Path:
        """Where its prompts are kept."""
        return Path(settings.HONE_DATA) / "rounds" / str(self.pk)

    @property
    def is_ended(self) -> bool:
        return self.state in self.ENDED

    @property
    def step(self) -> State:
        """The state that it is in, or that it was in when it was abandoned."""
        abandoned = self.state == self.State.ABANDONED
        return self.State(self.decision.get("step") or self.state) if abandoned else self.State(self.state)
