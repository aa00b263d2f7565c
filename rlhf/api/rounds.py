"""Rounds: started, looked at and decided."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from rlhf import plans, rounds
from rlhf.api.serializers import (
    Changes,
    NeededReason,
    Promotion,
    Reason,
    RoundDetailSerializer,
    RoundFilter,
    RoundInput,
    RoundSerializer,
)
from rlhf.api.views import LoopView
from rlhf.models import Round


class Rounds(LoopView):
    serializer_class = RoundSerializer
    filters = RoundFilter

    def get_queryset(self) -> Any:
        return _rows(self.request)

    @extend_schema(operation_id="rounds_list", parameters=[RoundFilter], responses=RoundSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Rounds, newest first."""
        return self.listed(self.get_queryset())

    @extend_schema(request=RoundInput, responses={201: RoundSerializer})
    def post(self, request: Request) -> Response:
        """Start a round; the worker takes it from here until people are needed. 409 while another one is open."""
        asked = self.sent(RoundInput)
        project = self.project_to_train_in(asked["project"])
        round = rounds.start_round(
            project,
            plans.from_dict(rounds.usual_plan(project) | (asked.get("plan") or {})),
            start_model=asked["start_model"],
            base_model=asked.get("base_model"),
            prompts_to_label=asked.get("prompts"),
            eval_prompts=asked.get("eval_prompts"),
            by=request.user,  # type: ignore[arg-type]
        )
        return self.created(round, request, round.pk)


class RoundView(LoopView):
    """One round, found for looking or for deciding."""

    serializer_class = RoundDetailSerializer
    queryset = Round.objects.none()

    def round(self, pk: int, *, to_train: bool = True) -> Round:
        round: Round = get_object_or_404(_rows(self.request), pk=pk)
        if to_train:
            self.project_to_train_in(round.project.slug)
        return round

    def shown(self, round: Round) -> Response:
        return Response(self.get_serializer(round).data)


class RoundDetail(RoundView):
    @extend_schema(responses=RoundDetailSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """One round."""
        return self.shown(self.round(pk, to_train=False))


class PromoteRound(RoundView):
    @extend_schema(request=Promotion, responses=RoundDetailSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Promote one of its policies and end it; a reason is needed where the gate is not met."""
        round = self.round(pk)
        return self.shown(rounds.promote(round, by=request.user, **self.sent(Promotion)))  # type: ignore[arg-type]


class RejectRound(RoundView):
    @extend_schema(request=Reason, responses=RoundDetailSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Promote none of its policies and end it; 409 before it waits for the decision, when it can be abandoned."""
        round = self.round(pk)
        return self.shown(rounds.reject(round, by=request.user, **self.sent(Reason)))  # type: ignore[arg-type]


class AbandonRound(RoundView):
    @extend_schema(request=NeededReason, responses=RoundDetailSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """End it before its decision, with a reason: its runs stop, its tasks leave the queue, nothing is promoted.

        What it made stays: answers, judgements, snapshot, models and checkpoints. 409 when it has ended already.
        """
        round = self.round(pk)
        return self.shown(rounds.abandon(round, by=request.user, **self.sent(NeededReason)))  # type: ignore[arg-type]


class RetryRound(RoundView):
    @extend_schema(request=Changes, responses=RoundDetailSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Make its failed runs anew, by the plan with changes."""
        round = self.round(pk)
        return self.shown(rounds.retry(round, self.sent(Changes).get("changes")))


class FinishStep(RoundView):
    @extend_schema(request=None, responses=RoundDetailSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Stop waiting for people: go on with the judgements that stand now."""
        return self.shown(rounds.finish_step(self.round(pk)))


def _rows(request: Any) -> Any:
    models = ("start_model", "base_model", "reward_model", "promoted_model")
    rows = Round.objects.visible_to(request.user)
    return rows.select_related("project", "snapshot", *models).prefetch_related("runs")
