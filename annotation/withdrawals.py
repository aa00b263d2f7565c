"""What was withdrawn from a project, for everything that reads its judgements; see models.Withdrawal."""

from __future__ import annotations

import re
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from annotation.models import Annotation, Project, Task, User
from annotation.sameness import plain, prompt_key

WORD = re.compile(r"[a-z0-9]{3,}")
# Beyond ASCII, letters have more than two forms; SQLite's JSON has them as \u escapes, PostgreSQL's as they are.
BEYOND_ASCII = {"postgresql": Q(said__regex="[^\x01-\x7f]")}
ESCAPED = Q(said__contains="\\u")


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
    return rows.filter(task__in=asking(project, task.prompt))


def asking(project: Project, prompt: list[dict[str, str]]) -> list[int]:
    """The ids of the tasks with the same prompt; see sameness for when two are the same.

    The database looks for the prompt's longest word, in a million tasks within a second or two; only the few prompts
    that have it are read, and those with letters beyond ASCII.
    """
    key = prompt_key(prompt)
    tasks = Task.objects.filter(project=project)
    if words := WORD.findall(" ".join(plain(message["content"]) for message in prompt)):
        other = BEYOND_ASCII.get(connection.vendor, ESCAPED)
        said = Cast("prompt", TextField())
        tasks = tasks.annotate(said=said).filter(Q(said__icontains=max(words, key=len)) | other)
    rows: Any = tasks.values_list("pk", "prompt").iterator(chunk_size=2000)
    return [pk for pk, asked in rows if prompt_key(asked) == key]


def withdrawn_ids(project: Project) -> set[int]:
    """The ids of all judgements of the project that were withdrawn."""
    rows = Annotation.objects.filter(project=project)
    found = set(rows.filter(annotator__in=annotators_of(project)).values_list("pk", flat=True))
    keys = prompts_of(project)
    for task in Task.objects.filter(withdrawals__in=project.withdrawals.exclude(prompt_key="")).distinct():
        if prompt_key(task.prompt) in keys:  # else the prompt was changed since
            keys -= {prompt_key(task.prompt)}
            found |= set(judgements(project, task=task).values_list("pk", flat=True))
    if keys:
        prompts = Task.objects.filter(project=project).values_list("pk", "prompt").iterator(chunk_size=2000)
        ids = [pk for pk, prompt in prompts if prompt_key(prompt) in keys]
        found |= set(rows.filter(task__in=ids).values_list("pk", flat=True))
    return found
