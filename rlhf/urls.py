"""Addresses of the loop's pages and of the fragments that keep them fresh."""

from django.urls import path

from rlhf.views import datasets, lineage, loop, models, new_run, pushes, rounds, runs, snapshots

app_name = "rlhf"

PROJECT = "projects/<slug:slug>/"

urlpatterns = [
    path(PROJECT + "loop/", loop.loop, name="loop"),
    path(PROJECT + "rounds/new/", rounds.new_round, name="new_round"),
    path(PROJECT + "rounds/<int:number>/decide/", rounds.decide, name="decide"),
    path(PROJECT + "rounds/<int:number>/abandon/", rounds.abandon_round, name="abandon_round"),
    path(PROJECT + "rounds/<int:number>/continue/", rounds.continue_round, name="continue_round"),
    path(PROJECT + "rounds/<int:number>/retry/", rounds.retry_round, name="retry_round"),
    path(PROJECT + "datasets/", datasets.datasets, name="datasets"),
    path(PROJECT + "datasets/new/", datasets.new_snapshot, name="new_snapshot"),
    path(PROJECT + "datasets/new/preview/", datasets.preview_snapshot, name="preview_snapshot"),
    path(PROJECT + "datasets/cuts/<int:pk>/", datasets.cut, name="cut"),
    path(PROJECT + "datasets/<int:pk>/", snapshots.snapshot, name="snapshot"),
    path(PROJECT + "datasets/<int:pk>/against/<int:older>/", lineage.diff_snapshots, name="diff_snapshots"),
    path(PROJECT + "datasets/<int:pk>/pushes/", pushes.pushes, name="pushes"),
    path(PROJECT + "lineage/", lineage.data_lineage, name="data_lineage"),
    path(PROJECT + "datasets/<int:pk>/snapshot.zip", snapshots.download_snapshot, name="download_snapshot"),
    path(PROJECT + "datasets/<int:pk>/files/<str:name>", snapshots.snapshot_file, name="snapshot_file"),
    path(PROJECT + "runs/", runs.runs, name="runs"),
    path(PROJECT + "runs/new/", new_run.new_run, name="new_run"),
    path(PROJECT + "runs/new/preflight/", new_run.preflight, name="preflight"),
    path(PROJECT + "runs/<int:pk>/", runs.run, name="run"),
    path(PROJECT + "runs/<int:pk>/live/", runs.run_live, name="run_live"),
    path(PROJECT + "runs/<int:pk>/log/", runs.run_log, name="run_log"),
    path(PROJECT + "runs/<int:pk>/files/<str:name>", runs.run_file, name="run_file"),
    path(PROJECT + "runs/<int:pk>/cancel/", runs.cancel_run, name="cancel_run"),
    path(PROJECT + "runs/<int:pk>/resume/", runs.resume_run, name="resume_run"),
    path(PROJECT + "models/", models.models, name="models"),
    path("models/<slug:name>/", models.model, name="model"),
    path("models/<slug:name>/lineage/", lineage.model_lineage, name="model_lineage"),
    path("models/<slug:name>/files/<path:file>", models.model_file, name="model_file"),
]
