"""Prompts to be judged, their candidate answers, and who holds which of them."""

from __future__ import annotations

import re
from typing import Any, Self, cast

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_noop

from annotation.models.people import User
from annotation.models.projects import Project
from annotation.prepared import prepared_cursor

# Ranks stay below 2**31 so that both databases index them alike and a random order is one draw.
MAX_RANK = 2**31 - 1
TITLE = 400  # characters of a message that a list may show
LINE_MARKS = re.compile(r"^\s*(?:#{1,6}\s+|>\s+|```.*$)", re.MULTILINE)
SPAN_MARKS = re.compile(r"(?<!\w)(\*\*|`|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)")
MAX_PRIORITY = 2**31 - 2  # what is above every task must still fit the column


class Purpose(models.TextChoices):
    """What the judgement is for: an evaluation's answers never reach a training snapshot."""

    LABEL = "label", gettext_noop("Label")
    EVALUATION = "evaluation", gettext_noop("Evaluation")


class Pool(models.IntegerChoices):
    """Which of a project's queues a task stands in; only `QUEUE` is open to everybody."""

    QUEUE = 0, gettext_noop("Queue")
    GOLD = 1, gettext_noop("Gold, mixed in")
    QUALIFICATION = 2, gettext_noop("Qualification")
    REVIEW = 3, gettext_noop("Skipped, waits for a reviewer")
    DROPPED = 4, gettext_noop("Skipped too often")


# Tasks of these pools check people: everybody may get each of them, so they have no slots and `need` is 0.
CHECKS = (Pool.GOLD, Pool.QUALIFICATION)


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(project__in=Project.objects.visible_to(user))

    def open(self) -> Self:
        """Tasks of the queue with a free slot."""
        return self.filter(open_slots__gt=0, pool=Pool.QUEUE)

    def skipped_out(self) -> Self:
        """Tasks that left the queue because people skipped them; found by their own small index."""
        return cast(Self, self.extra(where=["annotation_task.pool > 2"]))  # a literal, as the index needs it

    def to_qualify(self) -> Self:
        """Tasks that people qualify with; found by their own small index."""
        # A literal, as the index needs it, and its second column, or SQLite would take that of all the project's tasks.
        return cast(Self, self.extra(where=["annotation_task.pool = 2 AND annotation_task.rank >= 0"]))

    def wanted(self) -> Self:
        """Tasks whose judgements are the work to be done: not those that check people."""
        return self.exclude(pool__in=CHECKS)

    def finished(self) -> Self:
        """Tasks judged as often as they need to be."""
        return self.filter(done__gte=models.F("need"))


class Task(models.Model):
    """One prompt and its responses.

    `open_slots` is `need` less the live leases and the standing annotations. It is kept by guarded updates of this row
    alone, so that the next task is found by an index and never by counting.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="tasks")
    external_id = models.CharField(max_length=200, null=True, blank=True)
    prompt: models.JSONField[Any, Any] = models.JSONField()  # [{"role", "content"}, …]
    metadata: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    purpose = models.CharField(max_length=12, choices=Purpose.choices, default=Purpose.LABEL)
    priority = models.IntegerField(default=0)  # higher first
    rank = models.PositiveIntegerField()  # place within a priority: as given, or drawn
    need = models.PositiveSmallIntegerField(default=1)  # judgements wanted
    open_slots = models.SmallIntegerField(default=1)  # need - live leases - standing annotations
    done = models.PositiveSmallIntegerField(default=0)  # standing annotations
    reopened = models.BooleanField(default=False)  # a slot came back after cursors may have passed
    is_gold = models.BooleanField(default=False)
    gold: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)  # the expected judgement
    # The same with response ids, as an annotation's body is stored; see annotation.gold.
    expected: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    pool = models.PositiveSmallIntegerField(choices=Pool.choices, default=Pool.QUEUE)
    lot = models.PositiveSmallIntegerField(default=0)  # 0 to 9999 from the id: who is below a share is in the sample
    skips = models.PositiveSmallIntegerField(default=0)  # people who gave it back for good
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="external_id_once_per_project"),
            models.CheckConstraint(
                condition=Q(open_slots__gte=0) & Q(open_slots__lte=models.F("need")), name="open_slots_within_need"
            ),
        ]
        indexes = [
            models.Index(
                "project",
                models.F("priority").desc(),
                "rank",
                "id",
                name="task_open",
                condition=Q(open_slots__gt=0, pool=0),
            ),
            models.Index(
                "project",
                models.F("priority").desc(),
                "rank",
                "id",
                name="task_reopened",
                condition=Q(open_slots__gt=0, pool=0, reopened=True),
            ),
            # One each, because SQLite takes a partial index only where its condition is in the query word for word.
            models.Index("project", "rank", "id", name="task_gold", condition=Q(pool=1)),
            models.Index("project", "rank", "id", name="task_qualification", condition=Q(pool=2)),
            models.Index("project", "pool", "id", name="task_skipped", condition=Q(pool__gt=2)),
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"

    @cached_property
    def texts(self) -> dict[int, str]:
        """The responses' texts by their ids, read once; every judgement asks for them."""
        with prepared_cursor() as cursor:
            cursor.execute("SELECT id, text FROM annotation_response WHERE task_id = %s ORDER BY id", [self.pk])
            return dict(cursor.fetchall())

    @property
    def last_message(self) -> str:
        return str(self.prompt[-1]["content"]) if self.prompt else ""

    @property
    def title(self) -> str:
        """The beginning of the last message in one line, without the marks of markdown: what a list calls the task."""
        line = " ".join(LINE_MARKS.sub("", self.last_message[:TITLE]).split())
        return SPAN_MARKS.sub(r"\2", line)


class Response(models.Model):
    """One candidate answer. Ids are given in a shuffled order within a task, so that a lower id tells nothing."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="responses", db_index=False)
    position = models.PositiveSmallIntegerField()  # as imported or generated, from 0
    text = models.TextField()
    source = models.CharField(max_length=120, blank=True)  # a registered model's name, an import's, or a person's
    params: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    score = models.FloatField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "position"], name="response_position_once")]

    def __str__(self) -> str:
        return f"response {self.pk} of task {self.task_id}"


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def live(self) -> Self:
        """Leases that still hold their slot: leased and not yet run out."""
        return self.filter(state=Assignment.State.LEASED, lease_until__gt=timezone.now())

    def lapsed(self) -> Self:
        return self.filter(state=Assignment.State.LEASED, lease_until__lte=timezone.now())


class Assignment(models.Model):
    """One annotator's one chance at one task: a lease with an expiry, the order shown, and a saved draft.

    No index begins with the annotator: PostgreSQL without fresh statistics might take it to ask whether a person had
    one task, and so walk all that they ever held. The constraint's index answers that in one step.
    """

    class State(models.TextChoices):
        LEASED = "leased", gettext_noop("Leased")
        SUBMITTED = "submitted", gettext_noop("Submitted")
        SKIPPED = "skipped", gettext_noop("Skipped")
        EXPIRED = "expired", gettext_noop("Expired")  # the slot went back; a late submit may take it while one is free
        ASSIGNED = "assigned", gettext_noop("Assigned")  # kept for this person, with a slot, until they get to it
        SET_ASIDE = "set_aside", gettext_noop("Set aside")  # it no longer counts, and somebody else gets the task

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="assignments")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.LEASED)
    lease_until = models.DateTimeField()
    leased_at = models.DateTimeField(default=timezone.now)
    shown: models.JSONField[Any, Any] = models.JSONField(default=list)  # response ids in the order shown: a, b, …
    draft: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    skip_reason = models.CharField(max_length=200, blank=True)
    reserved = models.BooleanField(default=False)  # a lead chose this person: a lapsed lease stays theirs
    returned = models.TextField(blank=True, default="")  # what the reviewer wrote who sent the judgement back

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "annotator"], name="one_assignment_per_task_and_annotator")
        ]
        indexes = [
            models.Index(fields=["project", "annotator", "state"], name="assignment_of_annotator"),
            models.Index("lease_until", name="assignment_lapse", condition=Q(state="leased")),
            models.Index("project", "annotator", "id", name="assignment_waiting", condition=Q(state="assigned")),
        ]

    def __str__(self) -> str:
        return f"{self.annotator} holds task {self.task_id} ({self.state})"


class Cursor(models.Model):
    """How far one annotator has come in one project's queue."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="cursors")
    annotator = models.ForeignKey(User, on_delete=models.CASCADE, related_name="cursors")
    epoch = models.PositiveIntegerField(default=0)
    priority = models.IntegerField()
    rank = models.PositiveIntegerField()
    task_id = models.BigIntegerField(default=0)  # breaks ties between equal ranks
    turn = models.PositiveIntegerField(default=0)  # raised by every lease: the guard against a person's own second tab
    gold_rank = models.PositiveIntegerField(null=True, blank=True)  # how far they are among the gold tasks

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "annotator"], name="one_cursor_per_project_and_annotator")
        ]

    def __str__(self) -> str:
        return f"cursor of {self.annotator} in {self.project}"
