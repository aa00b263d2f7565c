"""The loop: snapshots, models, runs and rounds."""

from django.apps import AppConfig


class RlhfConfig(AppConfig):
    name = "rlhf"
    verbose_name = "The loop"
