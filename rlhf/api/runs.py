"""Runs: queued, watched, cancelled and resumed."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from rlhf import runs
from rlhf.api.serializers import (
    LinesQuery,
    LogSerializer,
    MetricsQuery,
    MetricsSerializer,
    RunFilter,
    RunInput,
    RunSerializer,
    SamplesSerializer,
)
from rlhf.api.views import LoopView
from rlhf.models import Run


class Runs(LoopView):
    serializer_class = RunSerializer
    filters = RunFilter

    def get_queryset(self) -> Any:
        return _rows(self.request)

    @extend_schema(operation_id="runs_list", parameters=[RunFilter], responses=RunSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Runs, newest first."""
        return self.listed(self.get_queryset())

    @extend_schema(request=RunInput, responses={201: RunSerializer})
    def post(self, request: Request) -> Response:
        """Queue a run; one that the engine would refuse is refused here, by the key to change."""
        asked = self.sent(RunInput)
        project = self.project_to_train_in(asked.pop("project"))
        run = runs.create(project, asked.pop("kind"), by=request.user, **asked)  # type: ignore[arg-type]
        return self.created(run, request, run.pk)


class RunDetail(LoopView):
    serializer_class = RunSerializer
    queryset = Run.objects.none()

    @extend_schema(responses=RunSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """One run."""
        return Response(self.get_serializer(get_object_or_404(_rows(request), pk=pk)).data)


class CancelRun(LoopView):
    serializer_class = RunSerializer
    queryset = Run.objects.none()

    @extend_schema(request=None, responses=RunSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Stop it within one step, with a checkpoint to resume from; 409 when it has ended already."""
        run = get_object_or_404(_rows(request), pk=pk)
        self.project_to_train_in(run.project.slug)
        return Response(self.get_serializer(runs.cancel(run)).data)


class ResumeRun(LoopView):
    serializer_class = RunSerializer
    queryset = Run.objects.none()

    @extend_schema(request=None, responses=RunSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Queue it again from its last checkpoint; 409 unless it was cancelled, failed or lost."""
        run = get_object_or_404(_rows(request), pk=pk)
        self.project_to_train_in(run.project.slug)
        return Response(self.get_serializer(runs.resume(run)).data)


class RunMetrics(LoopView):
    serializer_class = MetricsSerializer
    queryset = Run.objects.none()
    pagination_class = None

    @extend_schema(parameters=[MetricsQuery], responses=MetricsSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """The state, and the metric rows of steps later than `after`."""
        run = get_object_or_404(_rows(request), pk=pk)
        asked = self.sent(MetricsQuery, request.query_params.dict())
        return Response({"state": run.state, "metrics": runs.metrics(run, asked.get("after"))})


class RunLog(LoopView):
    serializer_class = LogSerializer
    queryset = Run.objects.none()
    pagination_class = None

    @extend_schema(operation_id="runs_log", parameters=[LinesQuery], responses=LogSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """The lines of its log behind the first `after`, at most 200; a live run is asked again with `next`."""
        run = get_object_or_404(_rows(request), pk=pk)
        return Response(runs.log(run, **self.sent(LinesQuery, request.query_params.dict())))


class RunSamples(LoopView):
    serializer_class = SamplesSerializer
    queryset = Run.objects.none()
    pagination_class = None

    @extend_schema(operation_id="runs_samples", parameters=[LinesQuery], responses=SamplesSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """What it showed people while it trained, behind the first `after` lines, at most 200."""
        run = get_object_or_404(_rows(request), pk=pk)
        return Response(runs.samples(run, **self.sent(LinesQuery, request.query_params.dict())))


def _rows(request: Any) -> Any:
    rows = Run.objects.visible_to(request.user)
    return rows.select_related("project", "start_model", "reward_model", "snapshot", "round")
