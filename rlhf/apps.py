"""The loop: snapshots, models, runs and rounds."""

from django.apps import AppConfig


class RlhfConfig(AppConfig):
    name = "rlhf"
    verbose_name = "The loop"

    def ready(self) -> None:
        from annotation import accounts
        from annotation import freezing as labels
        from rlhf import counts, freezing, renaming  # models are only there once every app is loaded

        counts.register()
        labels.register(freezing.holders)
        accounts.register(renaming.rename)
