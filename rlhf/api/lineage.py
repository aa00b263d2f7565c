"""Lineage both ways, differences between snapshots, and withdrawals."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotation.access import project_for
from annotation.api.pagination import MOST_ROWS
from annotation.api.serializers.fields import CleanCharField, StrictSerializer
from annotation.cleaning import MAX_INT
from annotation.models import Annotation, Project, Task, User, Withdrawal
from annotation.models.people import MANAGES, SEES_NAMES
from rlhf import comparing, contents, lineage, withdrawing, withdrawn
from rlhf.api.views import LoopView
from rlhf.models import Model, Snapshot


class WithdrawalSerializer(serializers.ModelSerializer[Withdrawal]):
    annotator = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    created_by = serializers.SlugRelatedField[User](slug_field="username", read_only=True)
    task = serializers.PrimaryKeyRelatedField[Task](read_only=True)
    effects = serializers.DictField(
        read_only=True, help_text="what it reached then: judgements, snapshots, models, and runs under way"
    )
    retrain = serializers.SerializerMethodField(
        help_text="what stands on these judgements now, made since or not: names of models, and of runs under way"
    )

    class Meta:
        model = Withdrawal
        fields = ["id", "annotator", "task", "reason", "effects", "retrain", "created_by", "created_at"]
        read_only_fields = fields

    def get_retrain(self, row: Withdrawal) -> dict[str, list[str]]:
        now = self.context.get("retrain") or withdrawn.retrain([row])
        return {"models": [one.name for one in now[row.pk].models], "runs": [one.name for one in now[row.pk].runs]}


class WithdrawalInput(StrictSerializer):
    annotator = CleanCharField(max_length=150, required=False, help_text="A user name")
    task = serializers.IntegerField(min_value=1, max_value=MAX_INT, required=False, help_text="One that has the prompt")
    reason = CleanCharField(max_length=withdrawing.LONGEST_REASON)


class DryRun(StrictSerializer):
    dry_run = serializers.BooleanField(default=False, help_text="Tell the effects and change nothing.")


class ContentsQuery(StrictSerializer):
    after = serializers.IntegerField(min_value=0, max_value=MAX_INT, default=0, help_text="The last id seen")
    limit = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=MOST_ROWS)


class SnapshotJudgementSerializer(StrictSerializer):
    annotation_id = serializers.IntegerField()
    revision = serializers.IntegerField()
    task_id = serializers.IntegerField()
    annotator = serializers.CharField(help_text="A pseudonym for those who see no names")
    guideline_version = serializers.IntegerField(allow_null=True)
    sources = serializers.ListField(child=serializers.CharField(), help_text="The models that wrote the responses")


class SnapshotContentsSerializer(StrictSerializer):
    next = serializers.URLField(allow_null=True)
    results = SnapshotJudgementSerializer(many=True)


class ModelLineage(LoopView):
    queryset = Model.objects.none()
    pagination_class = None

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, name: str) -> Response:
        """Everything behind a model: models, runs, snapshots, and of those annotators, guidelines and generators.

        Of each snapshot `annotations` is the address of the list of its judgements with their revisions.
        """
        rows = Model.objects.visible_to(request.user).select_related("run", "parent", "project")  # type: ignore[arg-type]
        return Response(lineage.shown_to(request.user, lineage.behind(get_object_or_404(rows, name=name))))


class AnnotationLineage(LoopView):
    queryset = Annotation.objects.none()
    pagination_class = None

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, pk: int) -> Response:
        """Every snapshot and model that one judgement reached."""
        projects = Project.objects.data_readable_by(request.user)  # type: ignore[arg-type]
        row = get_object_or_404(Annotation.objects.filter(project__in=projects).select_related("project"), pk=pk)
        return Response({"annotation": row.pk, **lineage.reached(row.project, [row.pk])})


class AnnotatorLineage(LoopView):
    queryset = Annotation.objects.none()
    pagination_class = None

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, slug: str, username: str) -> Response:
        """Every snapshot and model that one person's judgements reached."""
        project = project_for(request.user, slug, SEES_NAMES)  # type: ignore[arg-type]
        person = annotator_in(project, username)
        return Response({"annotator": username, **withdrawing.effects(project, annotator=person)})


class SnapshotAnnotations(LoopView):
    queryset = Annotation.objects.none()
    pagination_class = None

    @extend_schema(
        operation_id="snapshot_annotations_list", parameters=[ContentsQuery], responses=SnapshotContentsSerializer
    )
    def get(self, request: Request, pk: int) -> Response:
        """The judgements that a snapshot was cut from, by id: revision, annotator, guidelines and generating models."""
        rows = Snapshot.objects.visible_to(request.user).select_related("project")  # type: ignore[arg-type]
        snapshot = get_object_or_404(rows, pk=pk)
        asked = self.sent(ContentsQuery, request.query_params.dict())
        found = lineage.judgements(snapshot, request.user, after=asked["after"], limit=asked["limit"])
        following = None
        if found and contents.after(snapshot, found[-1]["annotation_id"], 1):
            query = QueryDict(mutable=True)
            query.update({"after": found[-1]["annotation_id"], "limit": asked["limit"]})
            following = request.build_absolute_uri(f"?{query.urlencode()}")
        return Response({"next": following, "results": found})


class SnapshotDiff(LoopView):
    queryset = Snapshot.objects.none()
    pagination_class = None

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, pk: int, older: int) -> Response:
        """Rows added, removed and changed since an older snapshot of the same project and type, and why.

        Large ones are compared once by the worker: 202 until that is done.
        """
        rows = Snapshot.objects.visible_to(request.user).select_related("project")  # type: ignore[arg-type]
        newer = get_object_or_404(rows, pk=pk)
        told = comparing.compared(get_object_or_404(rows, pk=older, project=newer.project, type=newer.type), newer)
        if told is None:
            return Response({"state": "working"}, status=202, headers={"Retry-After": "5"})
        return Response(told)


class Withdrawals(LoopView):
    serializer_class = WithdrawalSerializer
    ordering = ("-created_at", "-pk")
    queryset = Withdrawal.objects.none()

    @extend_schema(operation_id="withdrawals_list", responses=WithdrawalSerializer(many=True))
    def get(self, request: Request, slug: str) -> Response:
        """What was withdrawn from this project, by whom and why, newest first."""
        project = project_for(request.user, slug, SEES_NAMES)  # type: ignore[arg-type]
        page = self.paginate_queryset(project.withdrawals.select_related("annotator", "created_by")) or []
        shown = self.get_serializer_class()(page, many=True, context={"retrain": withdrawn.retrain(page)})
        return self.get_paginated_response(shown.data)

    @extend_schema(parameters=[DryRun], request=WithdrawalInput, responses={201: WithdrawalSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Withdraw a person's or a prompt's judgements for good; with dry_run=1, tell only what it would reach."""
        project = project_for(request.user, slug, MANAGES)  # type: ignore[arg-type]
        asked = self.sent(WithdrawalInput)
        whose: dict[str, Any] = {}
        if "annotator" in asked:
            whose["annotator"] = annotator_in(project, asked["annotator"])
        if "task" in asked:
            whose["task"] = get_object_or_404(project.tasks, pk=asked["task"])
        if self.sent(DryRun, request.query_params.dict())["dry_run"]:
            return Response(withdrawing.effects(project, **whose))
        made = withdrawing.withdraw(project, by=request.user, reason=asked["reason"], **whose)  # type: ignore[arg-type]
        return Response(self.get_serializer(made).data, status=201)


def annotator_in(project: Project, username: str) -> User:
    """Somebody who judged here; 404 for anybody else."""
    people = User.objects.filter(username=username)
    return get_object_or_404(people.filter(pk__in=project.annotations.values("annotator")))
