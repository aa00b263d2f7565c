"""What a second pair of eyes adds to the judgements: where they differ, what was decided, what was said about it."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotation.models.annotations import Annotation
from annotation.models.people import SEES_NAMES, User
from annotation.models.projects import Project
from annotation.models.tasks import Task


class DisputeQuerySet(models.QuerySet["Dispute"]):
    def open(self) -> Self:
        """Disagreements that nobody has settled or sent back."""
        return self.filter(state=Dispute.State.OPEN)

    def worst_first(self) -> Self:
        return self.order_by("-spread", "task_id")

    def decidable_by(self, user: User, project: Project) -> Self:
        """Those that `user` may decide: under the four-eyes rule none that they judged themselves."""
        if not project.four_eyes:
            return self
        own = Annotation.objects.filter(task=models.OuterRef("task"), annotator=user)
        return self.exclude(models.Exists(own.exclude(status=Annotation.Status.UNDONE)))


class Dispute(models.Model):
    """A task whose standing verdicts differ, or that is being looked at again: a summary that disputes.refresh keeps.

    Nothing is written here while people judge, so that a judgement costs no statement more.
    """

    class State(models.TextChoices):
        OPEN = "open", gettext_noop("Open")
        WAITING = "waiting", gettext_noop("With the annotator")
        SETTLED = "settled", gettext_noop("Settled")

    task = models.OneToOneField(Task, primary_key=True, on_delete=models.CASCADE, related_name="dispute")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="disputes", db_index=False)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    spread = models.PositiveSmallIntegerField()  # see verdicts.spread; the unit depends on the project's kind
    votes = models.PositiveSmallIntegerField()
    sources = models.CharField(max_length=250, blank=True)  # of the responses, in alphabetical order
    flagged = models.BooleanField(default=False)
    judged_at = models.DateTimeField()  # the latest of the verdicts

    objects = DisputeQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index("project", "state", F("spread").desc(), "task", name="dispute_worst_first"),
            models.Index(fields=["project", "sources"], name="dispute_sources"),
        ]

    def __str__(self) -> str:
        return f"dispute on task {self.task_id}, spread {self.spread}"


class AdjudicationQuerySet(models.QuerySet["Adjudication"]):
    def visible_to(self, user: User) -> Self:
        """Those of projects in which one's role sees names."""
        return self.filter(project__in=Project.objects.with_role(user, SEES_NAMES))


class Adjudication(models.Model):
    """One decision of a reviewer on one task, append-only: a changed mind is a later row.

    `body` is what counts from now on instead of the votes, stored like an annotation's; a return has none and names the
    annotation that went back. Taking a decision back is a row of its own that names it.
    """

    class Decision(models.TextChoices):
        ACCEPT = "accept", gettext_noop("Accepted")
        OVERRULE = "overrule", gettext_noop("Overruled")
        RETURN = "return", gettext_noop("Returned")
        WITHDRAW = "withdraw", gettext_noop("Taken back")

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="adjudications", db_index=False)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="adjudications", db_index=False)
    reviewer = models.ForeignKey(User, on_delete=models.PROTECT, related_name="adjudications")
    decision = models.CharField(max_length=8, choices=Decision.choices)
    body: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    comment = models.TextField(blank=True)
    annotation = models.ForeignKey(
        Annotation, null=True, blank=True, on_delete=models.CASCADE, related_name="adjudications"
    )
    makes_gold = models.BooleanField(default=False)  # the task became one whose answer is known, and this is the answer
    withdraws = models.OneToOneField("self", null=True, blank=True, on_delete=models.CASCADE, related_name="withdrawal")
    created_at = models.DateTimeField(default=timezone.now)

    objects = AdjudicationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(decision__in=["return", "withdraw"]) | Q(body__isnull=False), name="a_ruling_has_a_body"
            ),
            models.CheckConstraint(
                condition=~Q(decision="return") | Q(annotation__isnull=False), name="a_return_names_its_annotation"
            ),
        ]
        indexes = [
            models.Index(fields=["task", "id"], name="adjudication_of_task"),
            models.Index(fields=["project", "id"], name="adjudication_of_project"),
        ]

    def __str__(self) -> str:
        return f"{self.decision} on task {self.task_id} by {self.reviewer}"
