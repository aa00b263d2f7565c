"""Executions of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_noop

from annotation.models import Project, User


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: User) -> Self:
        """Runs of projects whose data `user` may read."""
        return self.filter(project__in=Project.objects.data_readable_by(user))

    def live(self) -> Self:
        """Runs that have, or should have, a process."""
        return self.filter(state__in=Run.LIVE)

    def queued(self) -> Self:
        """Runs that wait for a place, the oldest first."""
        return self.filter(state=Run.State.QUEUED).order_by("created_at", "pk")

    def ended(self) -> Self:
        return self.filter(state__in=Run.ENDED)


class Run(models.Model):
    """One execution: its run directory is the whole contract with the engine; this row is how the web finds it."""

    class State(models.TextChoices):
        QUEUED = "queued", gettext_noop("Queued")
        STARTING = "starting", gettext_noop("Starting")
        RUNNING = "running", gettext_noop("Running")
        STOPPING = "stopping", gettext_noop("Stopping")
        SUCCEEDED = "succeeded", gettext_noop("Succeeded")
        FAILED = "failed", gettext_noop("Failed")
        CANCELLED = "cancelled", gettext_noop("Cancelled")
        LOST = "lost", gettext_noop("Lost")

    class Kind(models.TextChoices):
        PRETRAIN = "pretrain", gettext_noop("Pretraining")
        SFT = "sft", "SFT"
        REWARD = "reward", gettext_noop("Reward model")
        DPO = "dpo", "DPO"
        KTO = "kto", "KTO"
        PPO = "ppo", "PPO"
        GRPO = "grpo", "GRPO"
        RLOO = "rloo", "RLOO"
        BEST_OF_N = "best_of_n", gettext_noop("Best of n")
        MERGE = "merge", gettext_noop("Merge")
        GENERATE = "generate", gettext_noop("Generate")
        EVALUATE = "evaluate", gettext_noop("Evaluate")

    # These leave a model behind, and these have a policy answer prompts while it learns.
    TRAINS = (
        Kind.PRETRAIN,
        Kind.SFT,
        Kind.REWARD,
        Kind.DPO,
        Kind.KTO,
        Kind.PPO,
        Kind.GRPO,
        Kind.RLOO,
        Kind.MERGE,
    )
    ROLLS_OUT = (Kind.PPO, Kind.GRPO, Kind.RLOO)
    WRITES = (Kind.GENERATE, Kind.BEST_OF_N)  # these leave answers to judge
    LIVE = (State.STARTING, State.RUNNING, State.STOPPING)
    ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs")
    round = models.ForeignKey("rlhf.Round", null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    part = models.CharField(
        max_length=20, blank=True
    )  # which part of the round's plan it carries out: generate, reward, policy-0, …
    name = models.SlugField(max_length=80, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    start_model = models.ForeignKey(
        "rlhf.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="runs_from"
    )
    reward_model = models.ForeignKey(
        "rlhf.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="runs_rewarded"
    )
    snapshot = models.ForeignKey("rlhf.Snapshot", null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    config: models.JSONField[Any, Any] = models.JSONField(default=dict)  # run.json as written
    launcher = models.CharField(max_length=16, default="local")
    pid = models.PositiveIntegerField(null=True, blank=True)
    pid_started = models.FloatField(null=True, blank=True)  # process start time; a pid alone can be somebody else's
    attempt = models.PositiveSmallIntegerField(default=0)  # processes started so far
    losses = models.PositiveSmallIntegerField(
        default=0
    )  # of those, how many vanished since a person last asked for one
    step = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    error: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)  # {"code", "message", "hint"}
    outcome: models.JSONField[Any, Any] = models.JSONField(
        default=dict, blank=True
    )  # what came of it: the report's figures, or the tasks made from its answers
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["state", "created_at"], name="run_by_state")]
        constraints = [
            models.UniqueConstraint(fields=["round", "part"], name="one_run_per_part", condition=~Q(part=""))
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("rlhf:run", args=[self.project.slug, self.pk])

    @property
    def folder(self) -> Path:
        return Path(settings.HONE_DATA) / "runs" / str(self.pk)

    @property
    def is_ended(self) -> bool:
        return self.state in self.ENDED
