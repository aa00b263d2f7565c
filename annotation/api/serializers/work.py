"""Shapes of the annotator's side: a leased task, and what is sent back; they check input and decide nothing."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.models import Kind


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


NO_REASON = "Say why, in a few words; the project's own reasons are in questions.skip_reasons."


class SkipSerializer(StrictSerializer):
    reason = CleanCharField(max_length=200, error_messages={"required": NO_REASON, "blank": NO_REASON})


class KeptDraftSerializer(serializers.Serializer[Any]):
    draft = serializers.DictField(allow_null=True)
    lease_until = serializers.DateTimeField()
