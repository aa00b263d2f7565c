"""The labeling application: people, projects, tasks and judgements."""

import gc

from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = "Annotation"

    def ready(self) -> None:
        from annotation import checks  # noqa: F401  registers the system checks

        # What is loaded by now lives as long as the process. Looking at it again and again was a sixth of an export.
        gc.freeze()
        gc.enable()  # manage.py loads the applications without
