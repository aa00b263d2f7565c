"""Imported rows wait in a project that nobody sees, then all change over to the real one in one short transaction.

A reader of the project never meets half an import, an annotator never waits behind a long write, and whatever a killed
import leaves behind is out of sight until it is swept away.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import F, Max, Min, Q
from django.utils import timezone

from annotation import disputes, judgement_rows, revising, rule_changes, tasks
from annotation.judgement_rows import NewRow, Origin
from annotation.models import (
    Annotation,
    Assignment,
    Cursor,
    GuidelineVersion,
    ImportJob,
    Membership,
    Project,
    Response,
    Task,
    User,
)
from annotation.raters import Raters
from annotation.records import Record
from annotation.revising import Changes
from annotation.short_check import Plain
from annotation.versions import Versions
from annotation.writes import write_transaction

RULES = ("overlap", "agreement_share", "agreement_overlap", "order", "gold_share")  # they decide how a task is stored
MANY = 1000  # new tasks from which the planner should know of them
# kB of pages that SQLite keeps: the indexes of a large import outgrow the usual, and publishing turns all of them over.
USUAL_CACHE, CACHE, PUBLISHING_CACHE = 2000, 16_384, 131_072
USUAL_CHECKPOINT = 1000  # pages of SQLite's log that a commit brings into the database
CHECKPOINT = 4  # batches after which an import does so, with nobody standing in line behind it
AT_ONCE = 1000  # records with more than texts in one transaction, which takes them as long as a whole batch of texts
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
        self.job, self.target, self.raters = job, job.project, raters
        self._made: Project | None = None
        self.changes = Changes()
        self.versions = Versions(self.target, lambda: self.project)
        self.origin = Origin(self._account, self.versions.id_of)
        self._batches, self._looks_up = 0, True
        _set(f"cache_size = -{CACHE}", "wal_autocheckpoint = 0")

    @property
    def project(self) -> Project:
        """Where the rows wait: made for the first of them, because a file that cannot be read needs none."""
        if self._made is None:
            self._made = Project.objects.create(
                slug=f"staging-{self.job.pk}-{secrets.token_hex(4)}",
                name=f"Import {self.job.pk}",
                kind=self.target.kind,
                **{rule: getattr(self.target, rule) for rule in RULES},
                is_staging=True,
            )
            ImportJob.objects.filter(pk=self.job.pk).update(staging=self._made)
        return self._made

    def close(self) -> None:
        self.changes.close()
        self._look_up(True)
        _set(f"cache_size = -{USUAL_CACHE}", f"wal_autocheckpoint = {USUAL_CHECKPOINT}")

    def discard(self) -> None:
        """Take everything back that waits here."""
        if self._made is not None:
            discard(self._made)

    def add(self, records: list[Record], *, purpose: str) -> None:
        """Store new tasks with their responses and judgements, out of sight."""
        self._look_up(True)
        for start in range(0, len(records), AT_ONCE):
            some = records[start : start + AT_ONCE]
            with write_transaction():
                added = tasks.insert(self.project, [record.fields for record in some], purpose)
                judged = [both for both in zip(added, some, strict=True) if both[1].judgements]
                if rows := [row for one, record in judged for row in self._judged(one, record)]:
                    judgement_rows.store(rows, fresh=True)
        self._file_away()

    def add_plain(self, given: Plain, *, purpose: str) -> None:
        """Store new tasks that are nothing but texts, out of sight."""
        self._look_up(False)
        with write_transaction():
            if not Project.objects.filter(pk=self.project.pk).exists():
                raise ImportInterrupted(GIVEN_UP)
            tasks.insert_plain(self.project, given, purpose)
        self._file_away()

    def _look_up(self, wanted: bool) -> None:
        """Whether SQLite looks at each row by itself: what it refers to, and whether its JSON is JSON.

        That is a quarter of the time of rows that were made by columns, of which all this is known. It is said when it
        changes, because SQLite prepares every statement anew after that.
        """
        if wanted != self._looks_up:
            _set(f"foreign_keys = {int(wanted)}", f"ignore_check_constraints = {int(not wanted)}")
            self._looks_up = wanted

    def _file_away(self) -> None:
        """Bring what was written into the database now and then: many pages at once, not one again and again."""
        self._batches += 1
        if self._batches % CHECKPOINT == 0 and not connection.in_atomic_block:
            _set("wal_checkpoint(PASSIVE)")

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

    def publish(self, created: int, report: Callable[[], dict[str, Any]]) -> None:
        """Everything staged becomes part of the project, and the job is done: at once, or not at all.

        `created` tasks are staged. The report is asked for once they have moved, so that it may be made meanwhile.
        """
        done = {"state": ImportJob.State.DONE, "finished_at": timezone.now(), "staging": None}
        many = created >= MANY
        self._look_up(True)
        try:
            with _large_transaction(many), write_transaction():
                alive = ImportJob.objects.filter(pk=self.job.pk, state=ImportJob.State.RUNNING).update(**done)
                if alive:
                    if self._made is not None:
                        self._move(self._made)
                    revising.apply(self.changes, self.origin, self.target.kind)
                    if self._made is not None:
                        self.versions.publish()
                        _remove(self._made)
                    ImportJob.objects.filter(pk=self.job.pk).update(report=report())
        except IntegrityError:
            raise ImportInterrupted(SAME_IDS) from None
        if not alive:
            raise ImportInterrupted(GIVEN_UP)
        if many:
            tasks.refresh_statistics()

    def _move(self, staged: Project) -> None:
        if Annotation.objects.filter(project=staged).exists():
            disputes.start_again(self.target)
        ids = staged.tasks.aggregate(first=Min("pk"), last=Max("pk"))
        staged.tasks.update(project=self.target, open_slots=tasks.free_slots(staged))
        if ids["first"] is not None:  # the rules may have changed since the import began
            rule_changes.catch_up(self.target, staged, **ids)
        for rows in (Annotation, Assignment):
            rows._default_manager.filter(project=staged).update(project=self.target)
        # The staged tasks have older ids than those that came in meanwhile: cursors may be past them.
        if Cursor.objects.filter(project=self.target).exists():
            Project.objects.filter(pk=self.target.pk).update(epoch=F("epoch") + 1)


@contextmanager
def _large_transaction(many: bool) -> Iterator[None]:
    """SQLite's settings for one transaction of very many rows.

    With few pages in memory it writes those of the indexes again and again. And its commit would bring all that was
    written into the database while others stand in line, or leave that to the next one's commit: it is done here, once
    they have moved on.
    """
    if not many or connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    _set(f"cache_size = -{PUBLISHING_CACHE}")
    try:
        yield
        _set("wal_checkpoint(PASSIVE)")
    finally:
        _set(f"cache_size = -{CACHE}")


def written() -> list[Path]:
    """The files that an import writes to, the one first to which it writes first; none where another process does."""
    if connection.vendor != "sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return []
    database = str(connection.settings_dict["NAME"])
    return [Path(f"{database}-wal"), Path(database)]


def _set(*pragmas: str) -> None:
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")


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
        _remove(staging)


def _remove(staging: Project) -> None:
    """Remove an emptied staging project; the caller holds the transaction.

    Nothing but these rows ever names one. Django would ask thirty tables about it, longer than a small import takes.
    """
    ImportJob.objects.filter(staging=staging).update(staging=None)
    for rows in (Membership, GuidelineVersion):
        rows._default_manager.filter(project=staging)._raw_delete(using=staging._state.db)
    Project.objects.filter(pk=staging.pk)._raw_delete(using=staging._state.db)
