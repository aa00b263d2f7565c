"""Cutting and counting where there are too many judgements to wait for it: the worker does both."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_tasks import task

from annotation.models import Project, User
from rlhf import lineage, snapshots
from rlhf.models import Cut, Snapshot
from rlhf.recipes import SnapshotError

SMALL = 30_000  # standing judgements: what is counted within a second or two
FRESH = 600.0  # seconds for which a count of a large project is shown, and in which the worker is asked but once
PATIENCE = timedelta(hours=2)  # with a cut that waits behind other chores
SILENCE = timedelta(minutes=30)  # of one that runs: a split and soft labels are found without a beat
DIED = "The worker died while it cut the snapshot; nothing was stored, so cut it again."


def is_large(project: Project) -> bool:
    """Whether reading all its judgements takes longer than a person or a proxy waits."""
    return bool(project.annotations.standing().order_by()[: SMALL + 1].count() > SMALL)


def start(
    project: Project, *, name: str, type: str, recipe: dict[str, Any] | None = None, by: User | None = None
) -> Cut:
    """Queue a cut; what is wrong with the recipe itself is said at once, as SnapshotError."""
    whole = snapshots.checked(name, type, recipe)
    snapshots.options_in(project, type, whole)
    made = Cut.objects.create(project=project, name=name, type=type, recipe=whole, created_by=by)
    transaction.on_commit(lambda: cut_later.enqueue(made.pk))
    return made


@task()
def cut_later(cut_id: int) -> None:
    """The worker's part."""
    carry_out(cut_id)


def carry_out(cut_id: int) -> None:
    """Cut, and tell the outcome in the row."""
    # A chore is started again only when its worker is known to be dead, so a running cut here is nobody's.
    if not _change(cut_id, state=Cut.State.RUNNING):
        return
    cut = Cut.objects.select_related("project", "created_by").get(pk=cut_id)
    try:
        asked: dict[str, Any] = {"name": cut.name, "type": cut.type, "recipe": cut.recipe, "by": cut.created_by}
        made = snapshots.cut(cut.project, **asked, beat=lambda: _change(cut_id, state=Cut.State.RUNNING))
    except SnapshotError as error:
        _change(cut_id, state=Cut.State.FAILED, problem=str(error), field=error.field[:40])
    else:
        lineage.facts(made)  # counted and kept now, so that no page waits for it
        _change(cut_id, state=Cut.State.SUCCEEDED, snapshot=made)


def sweep() -> int:
    """Give up cuts whose worker died for good; gives how many there were."""
    now = timezone.now()
    waiting = Q(state=Cut.State.QUEUED, changed_at__lt=now - PATIENCE)
    silent = Cut.objects.filter(waiting | Q(state=Cut.State.RUNNING, changed_at__lt=now - SILENCE))
    return silent.update(state=Cut.State.FAILED, problem=DIED, changed_at=now)


def preview(project: Project, type: str, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """What snapshots.preview counts; of a large project None until the worker has counted it."""
    if not is_large(project):
        return snapshots.preview(project, type, recipe)
    snapshots.checked("preview", type, recipe)
    kept = _kept(project, type, recipe)
    if _age(kept) < FRESH:
        told = dict(json.loads(kept.read_text("utf-8")))
        if "problem" in told:
            raise SnapshotError(told["field"], told["problem"])
        return told
    newest = _newest(project)
    if _age(newest) > FRESH or newest.read_text("utf-8") != kept.name:
        _write(newest, kept.name)
        transaction.on_commit(lambda: count_later.enqueue(project.pk, type, recipe))
    return None


@task()
def count_later(project_id: int, type: str, recipe: dict[str, Any]) -> None:
    """The worker's part of a preview; given up as soon as another recipe is asked about."""
    project = Project.objects.get(pk=project_id)
    kept, newest = _kept(project, type, recipe), _newest(project)
    try:
        told = snapshots.preview(project, type, recipe, wanted=lambda: newest.read_text("utf-8") == kept.name)
    except SnapshotError as error:
        told = {"problem": str(error), "field": error.field}
    except snapshots.NotWanted:
        return
    _write(kept, json.dumps(told))


def _kept(project: Project, type: str, recipe: dict[str, Any]) -> Path:
    asked = json.dumps([project.pk, type, recipe], sort_keys=True, default=str)
    return _folder() / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"


def _newest(project: Project) -> Path:
    return _folder() / f"newest-{project.pk}"


def _folder() -> Path:
    return Path(settings.HONE_DATA) / "snapshots" / ".previews"


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)


def _change(cut_id: int, *, snapshot: Snapshot | None = None, **fields: Any) -> int:
    live = Cut.objects.filter(pk=cut_id, state__in=Cut.LIVE)
    return live.update(changed_at=timezone.now(), snapshot=snapshot, **fields)
