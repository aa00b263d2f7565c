"""Shapes of judgements that are listed, exported and compared; they check input and decide nothing."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiTypes, extend_schema_field
from rest_framework import serializers

from annotation.api.serializers.fields import (
    CleanCharField,
    NamesField,
    NumbersField,
    StrictSerializer,
)
from annotation.cleaning import MAX_INT
from annotation.models import Annotation
from annotation.sealing import Of


class AnnotationSerializer(serializers.ModelSerializer[Annotation]):
    """One judgement as it is stored; names only for those who may see them."""

    annotation_id = serializers.SerializerMethodField()
    task_id = serializers.SerializerMethodField()
    annotator = serializers.SerializerMethodField()
    external_id = serializers.SerializerMethodField()
    guideline_version = serializers.SerializerMethodField()
    body = serializers.SerializerMethodField()

    class Meta:
        model = Annotation
        fields = [
            "annotation_id", "task_id", "external_id", "annotator", "revision", "kind", "created_at", "seconds",
            "guideline_version", "body", "status",
        ]  # fmt: skip
        read_only_fields = fields

    def get_annotation_id(self, annotation: Annotation) -> int:
        return int(self.context["number_of"](Of.ANNOTATION, annotation.pk))

    def get_task_id(self, annotation: Annotation) -> int:
        return int(self.context["number_of"](Of.TASK, annotation.task_id))

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_body(self, annotation: Annotation) -> Any:
        """As stored, with response ids in place of the sides."""
        return self.context["body_of"](annotation.body)

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
    near = serializers.BooleanField(
        required=False,
        allow_null=True,
        default=None,
        help_text="0: only the same prompts are kept on one side of a split, not nearly the same ones too",
    )
