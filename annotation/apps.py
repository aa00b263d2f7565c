"""The labeling application: people, projects, tasks and judgements."""

from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = "Annotation"

    def ready(self) -> None:
        from annotation import checks  # noqa: F401  registers the system checks
