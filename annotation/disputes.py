"""The list of disagreements: kept beside the tasks and brought up to date from the judgements that came since.

Judging writes nothing here. Whoever opens the list, and the worker every few seconds, reads the judgements after the
last one that was looked at, a bounded number at a time, so that no request ever walks a whole project.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.utils import timezone

from annotation import rulings, verdicts
from annotation.models import Annotation, Assignment, Dispute, Project, Response, User
from annotation.models.review import DisputeQuerySet
from annotation.writes import write_transaction

MARGIN, LATELY = 500, timedelta(minutes=1)  # what the worker reads once more: a lower id may be committed later
SWEEP_SECONDS = 3.0  # of each of the worker's looks at all projects
FEW, MOST = 50, 2000  # judgements in one refresh: a page's, some hundredths of a second, and the worker's
BATCH = 400  # tasks compared at once
COUNTED = 1000  # open disagreements; of more every page says that there are more

STANDING, LEASED = Annotation.Status.SUBMITTED, Assignment.State.LEASED


@dataclass(frozen=True)
class Count:
    """A number of items, or where there are `more` the number up to which they were counted."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}+" if self.more else f"{self.number:,}"

    def beside(self, done: int) -> Count:
        """These and the `done` ones."""
        return Count(self.number + done, self.more)


def open_in(project: Project) -> Count:
    """How many disagreements nobody has settled or sent back."""
    found = Dispute.objects.filter(project=project).open()[: COUNTED + 1].count()
    return Count(min(found, COUNTED), found > COUNTED)


def refresh(project: Project, most: int = FEW) -> bool:
    """Bring the project's list up to date with its latest judgements; True when there are more than were read."""
    upto = Project.objects.filter(pk=project.pk).values_list("disputes_upto", flat=True).first()
    if upto is None:
        return False
    rows = Annotation.objects.filter(project=project, pk__gt=upto).order_by("pk")
    found = list(rows.values_list("pk", "task", "task__is_gold")[:most])
    if not found:
        return False
    _recount_all_but_gold(project, found)
    Project.objects.filter(pk=project.pk, disputes_upto=upto).update(disputes_upto=found[-1][0])
    return len(found) == most


def refresh_all() -> None:
    """Bring every project's list up to date, as far as a few seconds go; the worker's chore."""
    end = time.monotonic() + SWEEP_SECONDS
    newest = Annotation.objects.filter(project=OuterRef("pk"), pk__gt=OuterRef("disputes_upto"))
    for project in Project.objects.filter(Exists(newest), is_archived=False, is_staging=False):
        while refresh(project, MOST) and time.monotonic() < end:
            pass
    if connection.vendor == "postgresql":
        _read_again()


def _read_again() -> None:
    """Look at the latest judgements that were read once more, as some with lower ids may have been committed since."""
    lately = Annotation.objects.filter(project=OuterRef("pk"), created_at__gt=timezone.now() - LATELY)
    for project in Project.objects.filter(Exists(lately), is_archived=False, is_staging=False):
        latest = Annotation.objects.filter(project=project, pk__lte=project.disputes_upto).order_by("-pk")
        _recount_all_but_gold(project, latest.values_list("pk", "task", "task__is_gold")[:MARGIN])


def _recount_all_but_gold(project: Project, found: Iterable[tuple[int, int, bool]]) -> None:
    """The answer of a gold task is known: who differs from it is wrong, and nobody needs to settle it."""
    recount(project, {task for _, task, is_gold in found if not is_gold})


def recount(project: Project, task_ids: Iterable[int]) -> None:
    """Compare the standing verdicts on these tasks again and write what came of it."""
    ids = sorted(task_ids)
    for start in range(0, len(ids), BATCH):
        _recount(project, ids[start : start + BATCH])


def start_again(project: Project) -> None:
    """Look at every judgement once more, a part at each refresh: after an import, whose ids are older than others."""
    Project.objects.filter(pk=project.pk).update(disputes_upto=0)


def narrowed(disputes: DisputeQuerySet, filters: dict[str, Any]) -> DisputeQuerySet:
    """The disputes that match: state, sources, annotator (a user), flag, since, until, guideline (a number), least."""
    if state := filters.get("state"):
        disputes = disputes.filter(state=state)
    if least := filters.get("least"):
        disputes = disputes.filter(spread__gte=least)
    if sources := filters.get("sources"):
        disputes = disputes.filter(sources=sources)
    if since := filters.get("since"):
        disputes = disputes.filter(judged_at__gte=since)
    if until := filters.get("until"):
        disputes = disputes.filter(judged_at__lt=until)
    votes = Annotation.objects.filter(task=OuterRef("task"), status__in=[STANDING, Annotation.Status.RETURNED])
    if annotator := filters.get("annotator"):
        disputes = disputes.filter(Exists(votes.filter(annotator=annotator)))
    if flag := filters.get("flag"):
        disputes = disputes.filter(flagged=True)
        if flag != "any":  # neither database can ask for an element of a JSON list in the same words
            quoted = votes.filter(body__flags__icontains=f'"{flag}"')
            disputes = disputes.filter(Exists(quoted))
    if guideline := filters.get("guideline"):
        disputes = disputes.filter(Exists(votes.filter(guideline__number=guideline)))
    return disputes


def sources_of(project: Project) -> list[str]:
    """The pairs of sources that the list can be narrowed to."""
    rows = Dispute.objects.filter(project=project).exclude(sources="").order_by("sources")
    return list(rows.values_list("sources", flat=True).distinct()[:100])


def people_of(project: Project) -> QuerySet[User]:
    """The people whose disputes the list can be narrowed to."""
    return User.objects.filter(memberships__project=project).order_by("username")


def _recount(project: Project, ids: list[int]) -> None:
    bodies, latest = _votes(ids)
    responses = _responses([task for task, given in bodies.items()])
    settled = rulings.standing(ids)
    waiting = _waiting(ids)
    rows = []
    for task in ids:
        order = [pk for pk, _ in responses.get(task, [])]
        apart = verdicts.spread(project.kind, bodies.get(task, []), order)
        if not apart and task not in settled and task not in waiting:
            continue
        state = Dispute.State.WAITING if task in waiting else Dispute.State.OPEN
        rows.append(
            Dispute(
                task_id=task,
                project=project,
                state=Dispute.State.SETTLED if task in settled else state,
                spread=apart,
                votes=len(bodies.get(task, [])),
                sources=" · ".join(sorted({source for _, source in responses.get(task, []) if source}))[:250],
                flagged=any(body.get("flags") for body in bodies.get(task, [])),
                judged_at=latest.get(task) or waiting.get(task) or settled[task].created_at,
            )
        )
    kept = {row.task_id for row in rows}
    fields = ["project", "state", "spread", "votes", "sources", "flagged", "judged_at"]
    with write_transaction():
        Dispute.objects.filter(task__in=[task for task in ids if task not in kept]).delete()
        Dispute.objects.bulk_create(rows, update_conflicts=True, unique_fields=["task"], update_fields=fields)


def _votes(ids: list[int]) -> tuple[dict[int, list[dict[str, Any]]], dict[int, datetime]]:
    bodies: dict[int, list[dict[str, Any]]] = defaultdict(list)
    latest: dict[int, datetime] = {}
    rows = Annotation.objects.standing().filter(task__in=ids).order_by("pk")
    for task, body, when in rows.values_list("task", "body", "created_at"):
        bodies[task].append(body)
        latest[task] = max(when, latest.get(task, when))
    return bodies, latest


def _responses(ids: list[int]) -> dict[int, list[tuple[int, str]]]:
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    rows = Response.objects.filter(task__in=ids).order_by("task", "pk").values_list("task", "pk", "source")
    for task, pk, source in rows:
        found[task].append((pk, source))
    return found


def _waiting(ids: list[int]) -> dict[int, datetime]:
    held = Assignment.objects.filter(task__in=ids, state=LEASED).exclude(returned="")
    return dict(held.order_by().values_list("task").annotate(since=Max("leased_at")))
