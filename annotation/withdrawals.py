"""What was withdrawn from a project, for everything that reads its judgements; see models.Withdrawal."""

from __future__ import annotations

from django.db.models import QuerySet

from annotation.models import Annotation, Project, Task, User
from annotation.sameness import prompt_key


def annotators_of(project: Project) -> list[int]:
    """Ids of the people whose judgements were withdrawn."""
    return list(project.withdrawals.exclude(annotator=None).values_list("annotator", flat=True))


def prompts_of(project: Project) -> frozenset[str]:
    """Keys of the prompts that were withdrawn."""
    return frozenset(project.withdrawals.exclude(prompt_key="").values_list("prompt_key", flat=True))


def judgements(project: Project, *, annotator: User | None = None, task: Task | None = None) -> QuerySet[Annotation]:
    """Every revision of one person's judgements, or of all judgements on one prompt, near-duplicates of it included."""
    rows = Annotation.objects.filter(project=project)
    if annotator is not None:
        return rows.filter(annotator=annotator)
    assert task is not None
    key = prompt_key(task.prompt)
    tasks = Task.objects.filter(project=project).values_list("pk", "prompt").iterator(chunk_size=2000)
    return rows.filter(task__in=[pk for pk, prompt in tasks if prompt_key(prompt) == key])


def withdrawn_ids(project: Project) -> set[int]:
    """The ids of all judgements of the project that were withdrawn."""
    rows = Annotation.objects.filter(project=project)
    found = set(rows.filter(annotator__in=annotators_of(project)).values_list("pk", flat=True))
    if keys := prompts_of(project):
        tasks = Task.objects.filter(project=project).values_list("pk", "prompt").iterator(chunk_size=2000)
        ids = [pk for pk, prompt in tasks if prompt_key(prompt) in keys]
        found |= set(rows.filter(task__in=ids).values_list("pk", flat=True))
    return found
