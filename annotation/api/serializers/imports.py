"""What an import is asked for through the API, and what it says."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from annotation.api.serializers.fields import CleanCharField, StoredBodyField, StrictSerializer
from annotation.models import ImportJob, Purpose


class ImportOptions(StrictSerializer):
    dry_run = serializers.BooleanField(default=False, help_text="Check only.")
    skip_bad = serializers.BooleanField(default=False, help_text="Import the good records though some are bad.")
    update = serializers.BooleanField(  # type: ignore[assignment]  # the query's word, not the method of that name
        default=False, help_text="Change known tasks; otherwise they are left alone."
    )
    format = CleanCharField(required=False, max_length=20, help_text="Told from the file if left out.")
    map = CleanCharField(
        required=False, max_length=10_000, help_text='What fields become, as JSON: {"question": "prompt"}'
    )
    guess = serializers.BooleanField(
        default=False, help_text="Without `map`, guess what fields become, whatever was said of such a file before."
    )
    annotator = CleanCharField(
        required=False,
        allow_blank=True,
        max_length=150,
        help_text="Whose judgement a chosen answer is; empty: nobody's.",
    )
    metadata = CleanCharField(
        required=False, max_length=10_000, help_text='Added to every record, as JSON: {"batch": "may"}'
    )
    purpose = serializers.ChoiceField(
        required=False, choices=Purpose.choices, help_text="`evaluation` keeps the judgements out of training."
    )
    hub = CleanCharField(required=False, max_length=200, help_text="A dataset of the hub instead of a file: OWNER/NAME")


class ImportProblemSerializer(serializers.Serializer[Any]):
    line = serializers.IntegerField()
    field = serializers.CharField(allow_blank=True)
    reason = serializers.CharField()


class ImportReportSerializer(serializers.Serializer[Any]):
    read = serializers.IntegerField()
    created = serializers.IntegerField()
    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    repeated = serializers.IntegerField(help_text="Records without an id that had come earlier in the same file.")
    annotations = serializers.IntegerField()
    bad_count = serializers.IntegerField()
    bad = ImportProblemSerializer(many=True)
    kept_as_metadata = serializers.ListField(child=serializers.CharField())
    same_prompts = StoredBodyField(help_text="How many records repeat an earlier prompt, and the first lines.")
    source = StoredBodyField(  # type: ignore[assignment]  # the report's word, not the attribute of that name
        help_text="The container, the shape and the mapping that were found or given."
    )
    personal = StoredBodyField(help_text="A dry run's: what looks personal, counted by field, with the first lines.")
    applied = serializers.BooleanField()


class ImportJobSerializer(serializers.ModelSerializer[ImportJob]):
    report = StoredBodyField()

    class Meta:
        model = ImportJob
        fields = ["id", "state", "file_name", "report", "created_at", "finished_at"]
        read_only_fields = fields
