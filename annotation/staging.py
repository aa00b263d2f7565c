"""Imported rows wait in a project that nobody sees, then all change over to the real one in one short transaction.

A reader of the project never meets half an import, an annotator never waits behind a long write, and whatever a killed
import leaves behind is out of sight until it is swept away.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import F, Q
from django.utils import timezone

from annotation import disputes, judgement_rows, revising, tasks
from annotation.judgement_rows import NewRow, Origin
from annotation.models import Annotation, Assignment, Cursor, ImportJob, Project, Response, Task, User
from annotation.raters import Raters
from annotation.records import Record
from annotation.revising import Changes
from annotation.versions import Versions
from annotation.writes import write_transaction

RULES = ("overlap", "agreement_share", "agreement_overlap", "order", "gold_share")  # they decide how a task is stored
MANY = 1000  # new tasks from which the planner should know of them
CACHE, USUAL_CACHE = 16_384, 2000  # kB of pages that SQLite keeps: the indexes of a large import outgrow the usual
SWEPT_AT_ONCE = 2000  # tasks deleted in one transaction
GIVEN_UP = "The import was taken for dead while it ran; start it again."
SAME_IDS = "Another import brought in some of the same ids meanwhile; start this one again."


class ImportInterrupted(Exception):
    """The import was given up by somebody else while it ran, or the same ids came in beside it."""


def beat(job: ImportJob, read: int, seconds: float) -> None:
    """Tell how far the import is and how long that took, and that it lives."""
    running = ImportJob.objects.filter(pk=job.pk, state=ImportJob.State.RUNNING)
    if not running.update(heartbeat=timezone.now(), report={"read": read, "seconds": round(seconds, 1)}):
        raise ImportInterrupted(GIVEN_UP)


class Staging:
    """The waiting place of one import."""

    def __init__(self, job: ImportJob, raters: Raters) -> None:
        target = job.project
        self.job, self.target, self.raters = job, target, raters
        self.project = Project.objects.create(
            slug=f"staging-{job.pk}-{secrets.token_hex(4)}",
            name=f"Import {job.pk}",
            kind=target.kind,
            **{rule: getattr(target, rule) for rule in RULES},
            is_staging=True,
        )
        self.changes = Changes()
        self.versions = Versions(target, self.project)
        self.origin = Origin(self._account, self.versions.id_of)
        ImportJob.objects.filter(pk=job.pk).update(staging=self.project)
        _keep_pages(CACHE)

    def close(self) -> None:
        self.changes.close()
        _keep_pages(USUAL_CACHE)

    def add(self, records: list[Record], *, purpose: str) -> None:
        """Store new tasks with their responses and judgements, out of sight."""
        with write_transaction():
            added = tasks.insert(self.project, [record.fields for record in records], purpose)
            rows = [row for one, record in zip(added, records, strict=True) for row in self._judged(one, record)]
            if rows:
                judgement_rows.store(rows, fresh=True)

    def _judged(self, task: tasks.Added, record: Record) -> Iterator[NewRow]:
        revisions: dict[str, int] = defaultdict(int)
        for judgement in record.judgements:
            name = judgement.annotator
            revisions[name] += 1
            yield judgement_rows.new_row(
                self.project.pk,
                task.id,
                self.target.kind,
                judgement,
                self.origin,
                task.responses,
                revisions[name],
            )

    def _account(self, name: str) -> int:
        return self.raters.account(name, self.project)

    def publish(self, report: dict[str, Any]) -> None:
        """Everything staged becomes part of the project, and the job is done: at once, or not at all."""
        done = {"state": ImportJob.State.DONE, "report": report, "finished_at": timezone.now(), "staging": None}
        try:
            with write_transaction():
                alive = ImportJob.objects.filter(pk=self.job.pk, state=ImportJob.State.RUNNING).update(**done)
                if alive:
                    self._move()
                    revising.apply(self.changes, self.origin, self.target.kind)
                    self.versions.publish()
                    self.project.memberships.all().delete()
                    self.project.delete()
        except IntegrityError:
            raise ImportInterrupted(SAME_IDS) from None
        if not alive:
            raise ImportInterrupted(GIVEN_UP)
        if report.get("created", 0) >= MANY:
            tasks.refresh_statistics()

    def _move(self) -> None:
        if Annotation.objects.filter(project=self.project).exists():
            disputes.start_again(self.target)
        for rows in (Task, Annotation, Assignment):
            rows._default_manager.filter(project=self.project).update(project=self.target)
        # The staged tasks have older ids than those that came in meanwhile: cursors may be past them.
        if Cursor.objects.filter(project=self.target).exists():
            Project.objects.filter(pk=self.target.pk).update(epoch=F("epoch") + 1)


def _keep_pages(kilobytes: int) -> None:
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA cache_size = -{kilobytes}")


def discard(staging: Project) -> None:
    """Remove a staging project with all its rows, a few thousand at a time, and the accounts that only it made."""
    while found := list(staging.tasks.order_by("pk").values_list("pk", flat=True)[:SWEPT_AT_ONCE]):
        with write_transaction():
            for rows in (Annotation, Assignment, Response):
                rows._default_manager.filter(task__in=found)._raw_delete(using=staging._state.db)
            Task.objects.filter(pk__in=found)._raw_delete(using=staging._state.db)
    with write_transaction():
        idle = Q(is_active=False, annotations=None, assignments=None)
        User.objects.filter(idle, memberships__project=staging).delete()
        staging.delete()
