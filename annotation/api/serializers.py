"""Shapes of what comes in and goes out; they check input and decide nothing."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiTypes, extend_schema_field
from rest_framework import serializers

from annotation.cleaning import MAX_INT, CleaningError, clean_text
from annotation.models import Annotation, Kind, Order, Project, Role, SkipTo
from annotation.templates import TEMPLATES

LONGEST_GUIDELINES = 100_000


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know, so that a misspelled one is never ignored in silence."""

    def to_internal_value(self, data: Any) -> Any:
        known = {name for name, field in self.fields.items() if not field.read_only}
        if isinstance(data, dict) and (strange := data.keys() - known):
            choices = ", ".join(sorted(known))
            raise serializers.ValidationError({name: [f"Is not a field here; use {choices}."] for name in strange})
        return super().to_internal_value(data)


class CleanCharField(serializers.CharField):
    """Text through the one door."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return super().to_internal_value(clean_text(data, self.field_name or ""))
        except CleaningError as error:
            raise serializers.ValidationError(error.message) from None


class NamesField(CleanCharField):
    """Several names in one value, with commas between them."""

    def to_internal_value(self, data: Any) -> Any:
        return tuple(name.strip() for name in super().to_internal_value(data).split(",") if name.strip())


class NumbersField(NamesField):
    """Several whole numbers in one value."""

    def to_internal_value(self, data: Any) -> Any:
        names = super().to_internal_value(data)
        if not all(name.isdecimal() and len(name) < 10 for name in names):
            raise serializers.ValidationError("Must be whole numbers with commas between them.")
        return tuple(map(int, names))


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
    gold_window = serializers.IntegerField(min_value=1, max_value=100, required=False)
    gold_feedback = serializers.BooleanField(required=False)
    qualification_size = serializers.IntegerField(min_value=0, max_value=100, required=False)
    qualification_bar = serializers.FloatField(min_value=0, max_value=1, required=False)
    four_eyes = serializers.BooleanField(required=False, help_text="Nobody settles what they judged themselves")
    is_archived = serializers.BooleanField(required=False)
    role = serializers.SerializerMethodField(help_text="The caller's own.")
    created_at = serializers.DateTimeField(read_only=True)

    def get_guidelines(self, project: Project) -> str:
        return project.guideline_shown[1] if project.guideline_shown else ""  # type: ignore[attr-defined]

    def get_guideline_version(self, project: Project) -> int | None:
        return project.guideline_shown[0] if project.guideline_shown else None  # type: ignore[attr-defined]

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


class ResponseSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    text = serializers.CharField()


class MessageSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=["system", "user", "assistant"])
    content = serializers.CharField()


class LeasedTaskSerializer(serializers.Serializer[Any]):
    """A task as its annotator sees it; the responses stand in the order shown: a, b, …"""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    prompt = MessageSerializer(many=True)
    responses = ResponseSerializer(many=True)
    lease_until = serializers.DateTimeField()
    draft = serializers.DictField(allow_null=True)
    questions = serializers.DictField()


class HighlightSerializer(serializers.Serializer[Any]):
    """A span of a response, in code points of its text as sent."""

    side = serializers.CharField(required=False, help_text="a, b, …; a when left out")
    response = serializers.IntegerField(required=False, help_text="its id, in place of the side")
    start = serializers.IntegerField(min_value=0)
    end = serializers.IntegerField(min_value=1)
    reason = serializers.CharField()


class BodySerializer(serializers.Serializer[Any]):
    """One judgement: the fields of the project's kind, and what its questions ask."""

    choice = serializers.ChoiceField(choices=["a", "b", "tie", "both_bad"], required=False, help_text="preference")
    strength = serializers.IntegerField(min_value=0, max_value=3, required=False, help_text="preference")
    aspects = serializers.DictField(
        child=serializers.ChoiceField(choices=["a", "b", "tie"]), required=False, help_text="preference"
    )
    ranking = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), required=False, help_text="ids, best first"
    )
    ratings = serializers.DictField(child=serializers.IntegerField(), required=False, help_text="rating")
    turns = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        required=False,
        help_text="rating by turn: ratings of the assistant's messages, by their place in the prompt from 0",
    )
    text = serializers.CharField(required=False, help_text="demonstration")
    improved = serializers.CharField(required=False, help_text="preference: the better response, rewritten")
    highlights = HighlightSerializer(many=True, required=False, help_text="preference and rating")
    reasons = serializers.ListField(child=serializers.CharField(), required=False, help_text="quick reasons by name")
    flags = serializers.ListField(child=serializers.CharField(), required=False)
    rationale = serializers.CharField(required=False, allow_blank=True)
    seconds = serializers.FloatField(required=False, help_text="Active time on the task; kept beside the body.")


class FeedbackSerializer(serializers.Serializer[Any]):
    """What was expected of one item of the qualification, in terms of the sides shown, and how far the person is."""

    correct = serializers.BooleanField()
    expected = serializers.DictField()
    why = serializers.CharField(allow_blank=True)
    done = serializers.IntegerField()
    right = serializers.IntegerField()
    size = serializers.IntegerField()
    state = serializers.ChoiceField(choices=["going_on", "passed", "failed"])


class SubmittedSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    revision = serializers.IntegerField()
    next = LeasedTaskSerializer(allow_null=True, required=False)
    notice = serializers.CharField(required=False, help_text="Why there is no next task for this person.")
    feedback = FeedbackSerializer(required=False, help_text="In the qualification only.")


class NextSerializer(serializers.Serializer[Any]):
    next = LeasedTaskSerializer(allow_null=True, required=False)
    notice = serializers.CharField(required=False, help_text="Why there is no next task for this person.")


class SkipSerializer(StrictSerializer):
    reason = CleanCharField(max_length=200, required=False, allow_blank=True)


class KeptDraftSerializer(serializers.Serializer[Any]):
    draft = serializers.DictField(allow_null=True)
    lease_until = serializers.DateTimeField()


@extend_schema_field(OpenApiTypes.OBJECT)
class StoredBodyField(serializers.Field[Any, Any, Any, Any]):
    """A body as stored, with response ids in place of the sides."""

    def to_representation(self, value: Any) -> Any:
        return value


class AnnotationSerializer(serializers.ModelSerializer[Annotation]):
    """One judgement as it is stored; names only for those who may see them."""

    annotation_id = serializers.IntegerField(source="pk")
    task_id = serializers.IntegerField()
    annotator = serializers.SerializerMethodField()
    external_id = serializers.SerializerMethodField()
    guideline_version = serializers.SerializerMethodField()
    body = StoredBodyField()

    class Meta:
        model = Annotation
        fields = [
            "annotation_id", "task_id", "external_id", "annotator", "revision", "kind", "created_at", "seconds",
            "guideline_version", "body", "status",
        ]  # fmt: skip
        read_only_fields = fields

    def get_annotator(self, annotation: Annotation) -> str:
        return str(self.context["name_of"](annotation))

    def get_external_id(self, annotation: Annotation) -> str | None:
        return annotation.task.external_id if self.context["reads_data"] else None

    def get_guideline_version(self, annotation: Annotation) -> int | None:
        return annotation.guideline.number if annotation.guideline else None


class AnnotationFilter(StrictSerializer):
    """What the list of annotations can be narrowed by."""

    task = serializers.IntegerField(required=False, min_value=1, max_value=MAX_INT)
    external_id = CleanCharField(required=False, max_length=200)
    annotator = CleanCharField(required=False, max_length=150, help_text="A user name; for those who see names.")
    status = serializers.ChoiceField(choices=Annotation.Status.choices, required=False)
    purpose = serializers.ChoiceField(choices=["label", "evaluation"], required=False)
    guideline_version = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


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


class AgreementQuery(StrictSerializer):
    a = CleanCharField(required=False, max_length=200, help_text="One group of annotators, as expert_*")
    b = CleanCharField(required=False, max_length=200, help_text="Another group, compared with the first")
    ties = serializers.BooleanField(default=True, help_text="0 leaves out pairs with a vote for neither side")
    aspect = CleanCharField(required=False, max_length=40)
    purpose = serializers.ChoiceField(choices=["label", "evaluation"], required=False)


class ExportQuery(StrictSerializer):
    type = serializers.ChoiceField(choices=["sft", "preference", "binary", "rating", "ranking", "raw"])
    format = serializers.ChoiceField(
        choices=["jsonl", "csv", "parquet", "datasets", "label-studio", "argilla"],
        default="jsonl",
        help_text="datasets comes as a zip; label-studio and argilla go with type=raw",
    )
    purpose = serializers.ChoiceField(choices=["label", "evaluation", "all"], required=False)
    aggregation = serializers.ChoiceField(choices=["majority", "strength", "each", "posterior"], required=False)
    ties = serializers.ChoiceField(choices=["drop", "half"], required=False, help_text="half: both orders, half weight")
    min_agreement = serializers.FloatField(min_value=0, max_value=1, required=False)
    exclude_annotators = NamesField(required=False, help_text="User names, with commas")
    flags = serializers.ChoiceField(choices=["drop", "keep"], required=False)
    exclude_flags = NamesField(required=False, help_text="With flags=keep: flags that leave a task out all the same")
    rulings = serializers.ChoiceField(
        choices=["prefer", "ignore"], required=False, help_text="What reviewers settled, over the votes"
    )
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    guideline = serializers.IntegerField(min_value=1, max_value=2**31 - 1, required=False)
    exclude_guidelines = NumbersField(required=False, help_text="Numbers of versions, with commas")
    threshold = serializers.FloatField(required=False, help_text="binary from ratings: the mean from which one is good")
    gap = serializers.FloatField(min_value=0, required=False, help_text="preference from ratings: difference of means")
    aspect = CleanCharField(required=False, max_length=40, help_text="The rating that threshold and gap are about")
    improved = serializers.ChoiceField(choices=["keep", "drop"], required=False, help_text="Pairs of improved answers")
    deduplicate = serializers.BooleanField(required=False, help_text="Drop rows that came before")
    gold = serializers.BooleanField(required=False)
    history = serializers.BooleanField(required=False, help_text="raw: every revision")
    extras = serializers.BooleanField(
        required=False, help_text="Add external_id and metadata to each row; to raw ones, the task that they judge"
    )
    part = serializers.ChoiceField(choices=["train", "eval"], required=False, help_text="One side of the split")
    eval_share = serializers.FloatField(min_value=0, max_value=0.9, required=False, help_text="Held out by prompt")
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    split_at = serializers.DateTimeField(required=False, help_text="Held out is what was judged from then on")
