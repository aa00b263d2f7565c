"""Taking a person's or a prompt's data back: out of every later dataset, and told to whoever used the earlier ones."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

from annotation import withdrawals
from annotation.cleaning import clean_text
from annotation.models import Project, Task, User, Withdrawal
from annotation.sameness import prompt_key
from annotation.writes import write_transaction
from rlhf import contents, lineage
from rlhf.models import Snapshot

LONGEST_REASON = 2000


class WithdrawalError(ValueError):
    """It cannot be withdrawn; `field` is what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def effects(project: Project, *, annotator: User | None = None, task: Task | None = None) -> dict[str, Any]:
    """`{"judgements", "snapshots": [{"id", "name", "judgements"}], "models": [{"name", "state"}], "runs": [{"name",
    "state"}]}`: what a withdrawal would reach, runs under way among it; nothing is changed."""
    if (annotator is None) == (task is None):
        raise WithdrawalError("annotator", gettext("Name either an annotator or a task."))
    ids = _ids(project, annotator, task)
    return {"judgements": len(ids), **lineage.reached(project, ids)}


def withdraw(
    project: Project, *, by: User | None, reason: str, annotator: User | None = None, task: Task | None = None
) -> Withdrawal:
    """Record the withdrawal and mark the snapshots that hold such judgements; the row lists the models to retrain."""
    reason = clean_text(reason, "reason", limit=LONGEST_REASON).strip()
    if not reason:
        raise WithdrawalError("reason", gettext("Say why: the record is kept for ever."))
    reach = effects(project, annotator=annotator, task=task)
    key = prompt_key(task.prompt) if task else ""
    about: dict[str, Any] = {"annotator": annotator, "prompt_key": key}
    if Withdrawal.objects.filter(project=project, **about).exists():
        raise WithdrawalError("annotator" if annotator else "task", gettext("It was withdrawn before."))
    gone = withdrawals.withdrawn_ids(project) | _ids(project, annotator, task)
    affected = Snapshot.objects.filter(pk__in=[one["id"] for one in reach["snapshots"]])
    marks = {snapshot.pk: len(contents.among(snapshot, gone)) for snapshot in affected}
    with write_transaction():
        made = Withdrawal.objects.create(
            project=project, task=task, reason=reason, effects=reach, created_by=by, **about
        )
        for pk, number in marks.items():
            Snapshot.objects.filter(pk=pk).update(withdrawn=number)
    return made


def _ids(project: Project, annotator: User | None, task: Task | None) -> set[int]:
    rows = withdrawals.judgements(project, annotator=annotator, task=task)
    return set(rows.values_list("pk", flat=True))
