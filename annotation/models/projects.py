"""One labeling job: its kind, guidelines, questions and queue rules."""

from __future__ import annotations

from typing import Any, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_noop

from annotation.models.people import READS_DATA, Role, User
from annotation.writes import write_transaction


class Kind(models.TextChoices):
    DEMONSTRATION = "demonstration", gettext_noop("Demonstration")
    PREFERENCE = "preference", gettext_noop("Preference")
    RANKING = "ranking", gettext_noop("Ranking")
    RATING = "rating", gettext_noop("Rating")


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> Self:
        """Projects that `user` is a member of; all of them for a site admin."""
        if user.is_superuser:
            return self.filter(is_staging=False)
        return self.filter(pk__in=user.memberships.values("project"))

    def with_role(self, user: User, roles: tuple[str, ...]) -> Self:
        """Projects in which `user` has one of `roles`; all of them for a site admin."""
        if user.is_superuser:
            return self.filter(is_staging=False)
        return self.filter(pk__in=user.memberships.filter(role__in=roles).values("project"))

    def data_readable_by(self, user: User) -> Self:
        return self.with_role(user, READS_DATA)


class Order(models.TextChoices):
    GIVEN = "given", gettext_noop("As imported")
    RANDOM = "random", gettext_noop("Random")


class SkipTo(models.TextChoices):
    """Where a task goes that `skip_limit` people have skipped; until then it goes to others."""

    QUEUE = "queue", gettext_noop("Back to the queue")
    REVIEW = "review", gettext_noop("To a reviewer")
    DROP = "drop", gettext_noop("Dropped")


SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]
HALF = [MinValueValidator(0.0), MaxValueValidator(0.5)]


class Project(models.Model):
    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    question = models.CharField(max_length=200, blank=True)
    # See annotation.questions: {"aspects": [{"name","label","required","points"?}], "flags": [{"name","label"}],
    #  "rationale": "optional|required|off", "skip_reasons": [str], "tie": bool, "both_bad": bool}
    questions = models.JSONField(default=dict, blank=True)
    overlap = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(10)])
    lease_minutes = models.PositiveSmallIntegerField(
        default=15, validators=[MinValueValidator(1), MaxValueValidator(240)]
    )
    order = models.CharField(max_length=8, choices=Order.choices, default=Order.GIVEN)
    agreement_share = models.FloatField(default=0.0, validators=SHARE)  # of the tasks wants agreement_overlap instead
    agreement_overlap = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(10)]
    )
    skip_to = models.CharField(max_length=8, choices=SkipTo.choices, default=SkipTo.QUEUE)
    skip_limit = models.PositiveSmallIntegerField(default=3, validators=[MinValueValidator(1), MaxValueValidator(100)])
    repeat_share = models.FloatField(default=0.0, validators=HALF)  # of what a person gets is their own, swapped
    repeat_after = models.PositiveSmallIntegerField(  # judgements between the first time and the second
        default=20, validators=[MinValueValidator(1), MaxValueValidator(200)]
    )
    # Above 0 the gold tasks leave the queue, and this share of what a person gets is one of them.
    gold_share = models.FloatField(default=0.0, validators=HALF)
    gold_bar = models.FloatField(default=0.0, validators=SHARE)  # who is right less often is paused; 0: nobody is
    gold_window = models.PositiveSmallIntegerField(  # gold tasks that this is counted over
        default=20, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    agreement_bar = models.FloatField(default=0.0, validators=SHARE)  # alpha under which to act; 0: none
    gold_feedback = models.BooleanField(default=False)  # people are told a day later which gold items they missed
    qualification_size = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(100)])  # 0: none
    qualification_bar = models.FloatField(default=0.8, validators=SHARE)
    daily_goal = models.PositiveIntegerField(default=0)  # 0: no goal
    epoch = models.PositiveIntegerField(default=0)  # raised after mass changes; restarts every annotator's cursor
    four_eyes = models.BooleanField(default=True)  # nobody adjudicates what they judged themselves
    disputes_upto = models.BigIntegerField(default=0, editable=False)  # the annotation that disputes.refresh read last
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    is_archived = models.BooleanField(default=False)
    is_staging = models.BooleanField(default=False, editable=False)  # holds an import's rows until they are published

    objects = ProjectQuerySet.as_manager()

    my_role: str  # the asking person's role; set by annotation.access

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=Kind.values), name="project_kind_known"),
            models.CheckConstraint(condition=models.Q(overlap__gte=1, overlap__lte=10), name="project_overlap_1_to_10"),
            models.CheckConstraint(
                condition=models.Q(gold_share__gte=0, repeat_share__gte=0, gold_share__lte=0.5, repeat_share__lte=0.5),
                name="project_checks_at_most_half_each",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("annotation:project", args=[self.slug])

    def role_of(self, user: User) -> str | None:
        """`user`'s role here; a site admin counts as a manager."""
        if user.is_superuser:
            return Role.MANAGER
        return self.memberships.filter(user=user).values_list("role", flat=True).first()

    @property
    def guideline(self) -> GuidelineVersion | None:
        """The version that annotators see now."""
        return self.guideline_versions.filter(is_imported=False).order_by("-number").first()

    def write_guidelines(self, text: str, *, by: User | None = None) -> GuidelineVersion:
        """A new version, or the present one where it says the same; old ones stay, because annotations name theirs."""
        with write_transaction():
            # The project's row is the lock: of two leads at once the second gets the next number.
            list(Project.objects.select_for_update().filter(pk=self.pk).values_list("pk"))
            if (now := self.guideline) is not None and now.text == text:
                return now
            number = (self.guideline_versions.aggregate(last=models.Max("number"))["last"] or 0) + 1
            return self.guideline_versions.create(number=number, text=text, created_by=by)


class GuidelineVersion(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_versions")
    number = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    is_imported = models.BooleanField(default=False)  # judgements came in that name it; its text did not

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="guideline_number_once")]

    def __str__(self) -> str:
        return f"{self.project} guidelines, version {self.number}"


class ImportJob(models.Model):
    """One import through page or API: what was sent, how far it is, and what was wrong with it."""

    class State(models.TextChoices):
        CHECKED = "checked", gettext_noop("Checked")
        QUEUED = "queued", gettext_noop("Queued")
        RUNNING = "running", gettext_noop("Running")
        DONE = "done", gettext_noop("Done")
        FAILED = "failed", gettext_noop("Failed")

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    file_name = models.CharField(max_length=200, blank=True)
    path = models.CharField(max_length=300, blank=True)  # relative to HONE_DATA/uploads
    options = models.JSONField(default=dict, blank=True)  # skip_bad, update
    report: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)  # counts, problems
    staging = models.OneToOneField(Project, null=True, on_delete=models.SET_NULL, related_name="+")
    heartbeat = models.DateTimeField(null=True, blank=True)  # a running job whose heart stopped is given up
    finished_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"import of {self.file_name or 'records'} into {self.project}"
