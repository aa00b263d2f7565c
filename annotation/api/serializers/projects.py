"""Shapes of projects, of who works there, and of who gets which tasks; they check input and decide nothing."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.models import Kind, Order, Project, Role, SkipTo
from annotation.rule_changes import Progress
from annotation.templates import TEMPLATES

LONGEST_GUIDELINES = 100_000


class ApplyingSerializer(serializers.Serializer[Any]):
    seen = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True)


class ProjectSerializer(StrictSerializer):
    slug = serializers.SlugField(max_length=80, required=False, help_text="Made from the name when left out.")
    name = CleanCharField(max_length=120)
    kind = serializers.ChoiceField(choices=Kind.choices, help_text="Fixed once there are tasks.")
    question = CleanCharField(max_length=200, required=False, allow_blank=True)
    questions = serializers.DictField(
        required=False,
        help_text="aspects, flags, rationale, reasons, highlights, improve, level, skip_reasons, tie, both_bad",
    )
    guidelines = serializers.SerializerMethodField(help_text="Markdown; a change makes a new version.")
    guideline_version = serializers.SerializerMethodField()
    overlap = serializers.IntegerField(min_value=1, max_value=10, required=False)
    lease_minutes = serializers.IntegerField(min_value=1, max_value=240, required=False)
    order = serializers.ChoiceField(choices=Order.choices, required=False)
    daily_goal = serializers.IntegerField(min_value=0, max_value=10_000, required=False)
    agreement_share = serializers.FloatField(
        min_value=0,
        max_value=1,
        required=False,
        help_text="Share of the tasks that wants agreement_overlap.",
    )
    agreement_overlap = serializers.IntegerField(min_value=1, max_value=10, required=False)
    skip_to = serializers.ChoiceField(
        choices=SkipTo.choices, required=False, help_text="Where a task goes that skip_limit people have skipped."
    )
    skip_limit = serializers.IntegerField(min_value=1, max_value=100, required=False)
    repeat_share = serializers.FloatField(
        min_value=0, max_value=0.5, required=False, help_text="Share of a person's work that is their own, swapped."
    )
    repeat_after = serializers.IntegerField(min_value=1, max_value=200, required=False)
    gold_share = serializers.FloatField(
        min_value=0, max_value=0.5, required=False, help_text="Share of a person's work that is a gold task."
    )
    gold_bar = serializers.FloatField(
        min_value=0, max_value=1, required=False, help_text="Who is right less often is paused; 0 pauses nobody."
    )
    agreement_bar = serializers.FloatField(
        min_value=0, max_value=1, required=False, help_text="Krippendorff's alpha under which to act; 0 for none."
    )
    gold_window = serializers.IntegerField(min_value=1, max_value=100, required=False)
    gold_feedback = serializers.BooleanField(required=False)
    qualification_size = serializers.IntegerField(min_value=0, max_value=100, required=False)
    qualification_bar = serializers.FloatField(min_value=0, max_value=1, required=False)
    four_eyes = serializers.BooleanField(required=False, help_text="Nobody settles what they judged themselves")
    is_archived = serializers.BooleanField(required=False)
    applying = serializers.SerializerMethodField(
        help_text="How many tasks new rules on their way have reached, seen of total; null when all have them."
    )
    role = serializers.SerializerMethodField(help_text="The caller's own.")
    created_at = serializers.DateTimeField(read_only=True)

    def get_guidelines(self, project: Project) -> str:
        return project.guideline_shown[1] if project.guideline_shown else ""  # type: ignore[attr-defined]

    def get_guideline_version(self, project: Project) -> int | None:
        return project.guideline_shown[0] if project.guideline_shown else None  # type: ignore[attr-defined]

    @extend_schema_field(ApplyingSerializer(allow_null=True))
    def get_applying(self, project: Project) -> Progress | None:
        return project.applying  # type: ignore[attr-defined]

    def get_role(self, project: Project) -> str:
        return str(project.my_role)


class ProjectInput(ProjectSerializer):
    kind = serializers.ChoiceField(
        choices=Kind.choices, required=False, help_text="Fixed once there are tasks; a template brings its own."
    )
    template = serializers.ChoiceField(
        choices=list(TEMPLATES), required=False, help_text="Gives what is left out; see the list of templates."
    )
    guidelines = CleanCharField(max_length=LONGEST_GUIDELINES, required=False, allow_blank=True, trim_whitespace=False)  # type: ignore[assignment]


class ProjectChange(ProjectInput):
    slug = None  # type: ignore[assignment]  # addresses and tokens of others rely on it
    template = None  # type: ignore[assignment]  # only a new project begins with one


class TemplateSerializer(serializers.Serializer[Any]):
    """A project to begin with: post a new one with its name as `template`."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the reply, not the serializer's own
    text = serializers.CharField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    question = serializers.CharField()
    questions = serializers.DictField()
    guidelines = serializers.CharField()
    overlap = serializers.IntegerField()


class MemberSerializer(StrictSerializer):
    username = CleanCharField(max_length=150, source="user.username")
    label = serializers.CharField(source="user.label", read_only=True)  # type: ignore[assignment]
    role = serializers.ChoiceField(choices=Role.choices)
    is_simulated = serializers.BooleanField(source="user.is_simulated", read_only=True)
    is_active = serializers.BooleanField(source="user.is_active", read_only=True)
    state = serializers.CharField(read_only=True, help_text="active, paused, or failed the qualification")
    qualified_at = serializers.DateTimeField(read_only=True)
    gold_done = serializers.IntegerField(read_only=True, help_text="Hidden gold tasks judged")
    gold_right = serializers.IntegerField(read_only=True)


class StandingSerializer(StrictSerializer):
    action = serializers.ChoiceField(
        choices=["pause", "resume", "requeue", "requeue_all", "reset", "admit"],
        help_text="requeue: what they did since the gold answers that paused them goes to others; reset: qualify again",
    )


class StoodSerializer(serializers.Serializer[Any]):
    done = serializers.CharField()
    member = MemberSerializer()


class TaskChoiceSerializer(StrictSerializer):
    """Which open tasks; all of them when nothing is said."""

    ids = serializers.ListField(child=CleanCharField(max_length=200), required=False, help_text="The caller's ids")
    metadata = serializers.DictField(required=False, help_text="Values that a task must have")
    priority = serializers.IntegerField(required=False, min_value=-(2**31), max_value=2**31 - 1)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=1_000_000)


class AssignSerializer(StrictSerializer):
    to = serializers.ListField(child=CleanCharField(max_length=150), min_length=1, help_text="User names")
    tasks = TaskChoiceSerializer(required=False)
    each = serializers.BooleanField(default=False, help_text="Every task to everybody named, instead of dealt out")


class AssignedSerializer(serializers.Serializer[Any]):
    assigned = serializers.IntegerField()
    full = serializers.IntegerField(help_text="Had no free slot")
    had_before = serializers.IntegerField(help_text="Were judged, held or skipped by that person before")
    not_open = serializers.ListField(
        child=serializers.CharField(), help_text="Of the ids asked for: unknown here, finished, or out of the queue"
    )
