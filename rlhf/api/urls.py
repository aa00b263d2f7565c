"""Addresses of the loop's API."""

from django.urls import path

from rlhf.api import data, lineage, pushes, rounds, runs

urlpatterns = [
    path("snapshots/", data.Snapshots.as_view(), name="api-snapshots"),
    path("snapshots/cuts/<int:pk>/", data.SnapshotCut.as_view(), name="api-snapshot-cut"),
    path("snapshots/<int:pk>/", data.SnapshotDetail.as_view(), name="api-snapshot"),
    path("snapshots/<int:pk>/download/", data.SnapshotDownload.as_view(), name="api-snapshot-download"),
    path("snapshots/<int:pk>/annotations/", lineage.SnapshotAnnotations.as_view(), name="api-snapshot-annotations"),
    path("snapshots/<int:pk>/diff/<int:older>/", lineage.SnapshotDiff.as_view(), name="api-snapshot-diff"),
    path("snapshots/<int:pk>/pushes/", pushes.Pushes.as_view(), name="api-snapshot-pushes"),
    path("models/", data.Models.as_view(), name="api-models"),
    path("models/<slug:name>/", data.ModelDetail.as_view(), name="api-model"),
    path("models/<slug:name>/promote/", data.PromoteModel.as_view(), name="api-promote-model"),
    path("models/<slug:name>/lineage/", lineage.ModelLineage.as_view(), name="api-model-lineage"),
    path("annotations/<int:pk>/lineage/", lineage.AnnotationLineage.as_view(), name="api-annotation-lineage"),
    path(
        "projects/<slug:slug>/annotators/<str:username>/lineage/",
        lineage.AnnotatorLineage.as_view(),
        name="api-annotator-lineage",
    ),
    path("projects/<slug:slug>/withdrawals/", lineage.Withdrawals.as_view(), name="api-withdrawals"),
    path("runs/", runs.Runs.as_view(), name="api-runs"),
    path("runs/<int:pk>/", runs.RunDetail.as_view(), name="api-run"),
    path("runs/<int:pk>/cancel/", runs.CancelRun.as_view(), name="api-cancel-run"),
    path("runs/<int:pk>/resume/", runs.ResumeRun.as_view(), name="api-resume-run"),
    path("runs/<int:pk>/metrics/", runs.RunMetrics.as_view(), name="api-run-metrics"),
    path("runs/<int:pk>/log/", runs.RunLog.as_view(), name="api-run-log"),
    path("runs/<int:pk>/samples/", runs.RunSamples.as_view(), name="api-run-samples"),
    path("rounds/", rounds.Rounds.as_view(), name="api-rounds"),
    path("rounds/<int:pk>/", rounds.RoundDetail.as_view(), name="api-round"),
    path("rounds/<int:pk>/promote/", rounds.PromoteRound.as_view(), name="api-promote-round"),
    path("rounds/<int:pk>/reject/", rounds.RejectRound.as_view(), name="api-reject-round"),
    path("rounds/<int:pk>/abandon/", rounds.AbandonRound.as_view(), name="api-abandon-round"),
    path("rounds/<int:pk>/retry/", rounds.RetryRound.as_view(), name="api-retry-round"),
    path("rounds/<int:pk>/finish-step/", rounds.FinishStep.as_view(), name="api-finish-step"),
]
