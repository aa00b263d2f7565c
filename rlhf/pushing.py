"""Pushes to the hub that nobody waits for: asked for on a page or by the API, carried out by the worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_tasks import task

from annotation.models import User
from rlhf import hub
from rlhf.models import Push, Snapshot

PATIENCE = timedelta(hours=6)  # for a large folder on a slow line
DIED = "The worker died while it pushed; push it again."


def is_configured() -> bool:
    """Whether there is a token, without which nothing is ever sent."""
    return bool(settings.HF_TOKEN)


def start(snapshot: Snapshot, repository: str, *, public: bool = False, by: User | None = None) -> Push:
    """Queue a push; the one that is under way when there is one. HubError when it cannot be tried."""
    hub.check(snapshot, repository)
    try:
        with transaction.atomic():
            made = Push.objects.create(snapshot=snapshot, repository=repository, public=public, created_by=by)
    except IntegrityError:  # two clicks are one push
        return Push.objects.get(snapshot=snapshot, repository=repository, state__in=Push.LIVE)
    transaction.on_commit(lambda: push_later.enqueue(made.pk))
    return made


@task()
def push_later(push_id: int) -> None:
    """The worker's part."""
    carry_out(push_id)


def carry_out(push_id: int, api: Any = None) -> None:
    """Push, and tell the outcome in the row, where people look."""
    # A chore is started again only when its worker is known to be dead, so a running push here is nobody's.
    if not _change(push_id, state=Push.State.RUNNING):
        return
    push = Push.objects.select_related("snapshot__project").get(pk=push_id)
    try:
        address = hub.push(push.snapshot, push.repository, public=push.public, api=api)
    except hub.HubError as error:
        _change(push_id, state=Push.State.FAILED, problem=str(error))
    else:
        _change(push_id, state=Push.State.SUCCEEDED, address=address)


def sweep() -> int:
    """Give up pushes whose worker died for good; gives how many there were."""
    silent = Push.objects.filter(state__in=Push.LIVE, changed_at__lt=timezone.now() - PATIENCE)
    return silent.update(state=Push.State.FAILED, problem=DIED, changed_at=timezone.now())


def _change(push_id: int, **fields: Any) -> int:
    live = Push.objects.filter(pk=push_id, state__in=Push.LIVE)
    return live.update(changed_at=timezone.now(), **fields)
