"""The reviewer's side: disagreements, what everybody said on a task, decisions, and comments."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import access, desk, discussing, disputes, reviewing
from annotation.api.authentication import caller
from annotation.api.serializers.fields import CleanCharField, StoredBodyField, StrictSerializer
from annotation.cleaning import MAX_INT
from annotation.models import Adjudication, Comment, Dispute, User
from annotation.models.people import JUDGES, SEES_NAMES

PAGING = ("limit", "cursor")


class DisputeSerializer(serializers.ModelSerializer[Dispute]):
    task_id = serializers.IntegerField()

    class Meta:
        model = Dispute
        fields = ["task_id", "state", "spread", "votes", "sources", "flagged", "judged_at"]
        read_only_fields = fields


class DisputeFilter(StrictSerializer):
    state = serializers.ChoiceField(choices=Dispute.State.choices, default=Dispute.State.OPEN)
    least = serializers.IntegerField(required=False, min_value=0, max_value=100, help_text="Spread at least")
    sources = CleanCharField(required=False, max_length=250, help_text="As told in `sources`")
    annotator = CleanCharField(required=False, max_length=150)
    flag = CleanCharField(required=False, max_length=40, help_text="A flag's name, or any")
    guideline = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)


class DecisionInput(StrictSerializer):
    decision = serializers.ChoiceField(choices=["accept", "overrule", "return"])
    body = serializers.DictField(required=False, help_text="overrule: a judgement, A and B as in GET review/")
    annotation = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_INT, help_text="return: which one; accept: of written answers"
    )
    comment = CleanCharField(required=False, allow_blank=True, max_length=reviewing.LONGEST_COMMENT, default="")
    gold = serializers.BooleanField(
        default=False, help_text="accept, overrule: make the item one whose answer is known; undone with the decision"
    )
    seen = CleanCharField(required=False, max_length=60, help_text="From GET review/: 409 if anything happened since")


class AdjudicationSerializer(serializers.ModelSerializer[Adjudication]):
    task_id = serializers.IntegerField()
    reviewer = serializers.CharField(source="reviewer.username")
    body = StoredBodyField()
    annotation_id = serializers.IntegerField(allow_null=True)
    withdraws_id = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Adjudication
        fields = [
            "id", "task_id", "reviewer", "decision", "body", "comment", "annotation_id", "makes_gold", "withdraws_id",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class CommentInput(StrictSerializer):
    body = CleanCharField(max_length=discussing.LONGEST)
    to = CleanCharField(required=False, max_length=150, help_text="An annotator who had the task; for reviewers")


class CommentSerializer(serializers.Serializer[Any]):
    """A comment as the caller may see it: an annotator is told no names."""

    id = serializers.IntegerField(source="comment.pk")
    author = serializers.CharField(source="who")
    to = serializers.CharField()
    body = serializers.CharField(source="comment.body")
    resolved = serializers.BooleanField(source="comment.resolved")
    created_at = serializers.DateTimeField(source="comment.created_at")


class SaidSerializer(CommentSerializer):
    unheard = serializers.ListField(
        child=serializers.CharField(),
        help_text="Names it mentions of people who were not told: they do not review here",
    )


class Disputes(generics.GenericAPIView[Dispute]):
    serializer_class = DisputeSerializer
    ordering = ("-spread", "task_id")

    @extend_schema(operation_id="disputes_list", parameters=[DisputeFilter], responses=DisputeSerializer(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """Tasks on which people differ, worst first."""
        project = access.project_for(caller(request), slug, SEES_NAMES)
        query = {name: value for name, value in request.query_params.items() if name not in PAGING}
        sent = DisputeFilter(data=query)
        sent.is_valid(raise_exception=True)
        filters = dict(sent.validated_data)
        if "annotator" in filters:
            filters["annotator"] = _member(project.pk, filters["annotator"], "annotator")
        disputes.refresh(project)
        rows = disputes.narrowed(Dispute.objects.filter(project=project), filters)
        return self.get_paginated_response(DisputeSerializer(self.paginate_queryset(rows), many=True).data)


class Review(APIView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, task_id: int) -> Response:
        """One task with everybody's verdicts, the median, and all that happened."""
        task = access.task_for(caller(request), task_id, SEES_NAMES)
        return Response(desk.told(desk.of(task, caller(request))))


class Adjudications(APIView):
    @extend_schema(request=DecisionInput, responses={201: AdjudicationSerializer})
    def post(self, request: Request, task_id: int) -> Response:
        """Accept the median, overrule with a verdict of one's own, or return a judgement to its annotator."""
        task = access.task_for(caller(request), task_id, SEES_NAMES)
        sent = DecisionInput(data=request.data)
        sent.is_valid(raise_exception=True)
        given = sent.validated_data
        if given["gold"] and given["decision"] == "return":
            raise ValidationError({"gold": [gettext("What goes back has no known answer yet.")]})
        asked = {"comment": given["comment"], "looked_at": given.get("seen")}
        named = get_object_or_404(task.annotations, pk=given["annotation"]) if "annotation" in given else None
        if given["decision"] == "accept":
            made = reviewing.accept(task, caller(request), annotation=named, gold=given["gold"], **asked)
        elif given["decision"] == "overrule":
            body = given.get("body", {})
            made = reviewing.overrule(task, caller(request), body, gold=given["gold"], **asked)
        elif named is None:
            raise ValidationError({"annotation": [gettext("Say which judgement goes back.")]})
        else:
            named.task = task
            made = reviewing.send_back(named, caller(request), **asked)
        return Response(AdjudicationSerializer(made).data, status=201)


class Withdraw(APIView):
    @extend_schema(request=None, responses={201: AdjudicationSerializer})
    def post(self, request: Request, adjudication_id: int) -> Response:
        """Take the caller's last decision on a task back."""
        mine = Adjudication.objects.visible_to(caller(request)).select_related("task__project", "annotation__task")
        adjudication = get_object_or_404(mine, pk=adjudication_id, reviewer=caller(request))
        return Response(AdjudicationSerializer(reviewing.withdraw(adjudication, caller(request))).data, status=201)


class Comments(APIView):
    @extend_schema(responses=CommentSerializer(many=True))
    def get(self, request: Request, task_id: int) -> Response:
        """What was said about a task, as far as the caller may know."""
        task = access.task_for(caller(request), task_id, JUDGES)
        return Response(CommentSerializer(discussing.lines(task, caller(request))[-200:], many=True).data)

    @extend_schema(request=CommentInput, responses={201: SaidSerializer})
    def post(self, request: Request, task_id: int) -> Response:
        """Say something: to the reviewers, or to one annotator who had the task."""
        task = access.task_for(caller(request), task_id, JUDGES)
        sent = CommentInput(data=request.data)
        sent.is_valid(raise_exception=True)
        to = sent.validated_data.get("to")
        partner = _member(task.project_id, to, "to") if to else None
        said: Comment = discussing.say(task, caller(request), sent.validated_data["body"], to=partner)
        line = next(one for one in discussing.lines(task, caller(request)) if one.comment.pk == said.pk)
        return Response(CommentSerializer(line).data | {"unheard": discussing.unheard(said)}, status=201)


def _member(project: int, username: str, field: str) -> User:
    person = User.objects.filter(memberships__project=project, username=username).first()
    if person is None:
        raise ValidationError({field: [gettext("Nobody here has this name.")]})
    return person
