"""The loop: snapshots, models, runs and rounds."""

from django.apps import AppConfig


class RlhfConfig(AppConfig):
    name = "rlhf"
    verbose_name = "The loop"

    def ready(self) -> None:
        from rlhf import counts  # models are only there once every app is loaded

        counts.register()
