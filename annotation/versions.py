"""Guideline versions that imported judgements were made under, by their numbers."""

from __future__ import annotations

from collections.abc import Callable

from annotation.models import Annotation, GuidelineVersion, Project


class Versions:
    """Finds the project's own version of a number; one that it lacks is kept without a text, and never shown to people.

    Such a version waits in the staging project, which `staging` gives or makes, with the judgements that name it.
    """

    def __init__(self, target: Project, staging: Callable[[], Project]) -> None:
        self.target, self.staging = target, staging
        self.known: dict[int, int] = {}

    def id_of(self, number: int) -> int:
        if number not in self.known:
            version = self._own(number) or self.staging().guideline_versions.create(number=number, is_imported=True)
            self.known[number] = version.pk
        return self.known[number]

    def publish(self) -> None:
        """Give the waiting versions to the project, unless it got one of that number meanwhile; in a transaction."""
        for waiting in self.staging().guideline_versions.all():
            if own := self._own(waiting.number):
                Annotation.objects.filter(guideline=waiting).update(guideline=own)
                waiting.delete()
            else:
                waiting.project = self.target
                waiting.save(update_fields=["project"])

    def _own(self, number: int) -> GuidelineVersion | None:
        return self.target.guideline_versions.filter(number=number).first()
