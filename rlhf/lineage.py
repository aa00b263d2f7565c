"""Where a model comes from, down to the judgements, and what became of a judgement, up to the models."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from annotation.models import Annotation, Project, Response, User
from annotation.models.people import SEES_NAMES
from annotation.raw_rows import pseudonym
from rlhf import contents, withdrawn
from rlhf.models import Model, Run, Snapshot

BATCH = 2000


def behind(model: Model) -> dict[str, Any]:
    """The runs, models, snapshots and what stands behind those, of one model.

    `{"model", "models": [names], "runs": [...], "snapshots": [{"id", "name", "judgements", "annotators": {user id: n},
    "guidelines": {number: n}, "sources": {generating model: n}, "withdrawn", ...}]}`
    """
    models: dict[int, Model] = {}
    runs: dict[int, Run] = {}
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if one.pk in models:
            continue
        models[one.pk] = one
        if one.parent:
            waiting.append(one.parent)
        if one.run:
            runs[one.run.pk] = one.run
            waiting += [source for source in (one.run.start_model, one.run.reward_model) if source]
    snapshots = {run.snapshot.pk: run.snapshot for run in runs.values() if run.snapshot}
    return {
        "model": model.name,
        "models": [{"name": one.name, "role": one.role, "state": one.state} for _, one in sorted(models.items())],
        "runs": [_run(run) for _, run in sorted(runs.items())],
        "snapshots": [{**about(one), **facts(one)} for _, one in sorted(snapshots.items())],
    }


def reached(project: Project, ids: Iterable[int]) -> dict[str, Any]:
    """Every snapshot that holds some of these judgements, every model made from those, through others too, and every
    run that is making one."""
    asked = list(ids)
    found: list[tuple[Snapshot, int]] = []
    for snapshot in Snapshot.objects.filter(project=project).select_related("project").order_by("pk"):
        if held := len(contents.among(snapshot, asked)):
            found.append((snapshot, held))
    holds = [snapshot for snapshot, _ in found]
    models, waiting = withdrawn.made_from(holds), withdrawn.under_way(holds)
    return {
        "snapshots": [{"id": one.pk, "name": str(one), "judgements": held} for one, held in found],
        "models": [{"name": one.name, "role": one.role, "state": one.state} for one in models],
        "runs": [{"id": one.pk, "name": one.name, "kind": one.kind, "state": one.state} for one in waiting],
    }


def facts(snapshot: Snapshot) -> dict[str, Any]:
    """Who judged, under which guidelines, and which models wrote the answers, with how many judgements each.

    Counted once for each content and kept beside it: what a snapshot holds never changes.
    """
    path = snapshot.folder.parent / ".contents" / f"{snapshot.folder.name}.json"
    if path.is_file():
        return dict(json.loads(path.read_text("utf-8")))
    told = _count(snapshot)
    if snapshot.folder.is_dir():
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
        unfinished.write_text(json.dumps(told), "utf-8")
        unfinished.replace(path)
    return told


def shown_to(viewer: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What `behind` told, with names of annotators for those who may see them and pseudonyms for the others."""
    rows = Snapshot.objects.filter(pk__in=[row["id"] for row in told["snapshots"]]).select_related("project")
    projects = {one.pk: one.project for one in rows}
    for row in told["snapshots"]:
        project = projects[row["id"]]
        sees = project.role_of(viewer) in SEES_NAMES
        people = User.objects.in_bulk([int(pk) for pk in row["annotators"]])
        row["annotators"] = {
            person.username if sees else pseudonym(project, pk, simulated=person.is_simulated): row["annotators"][
                str(pk)
            ]
            for pk, person in people.items()
        }
    return told


def judgements(snapshot: Snapshot, viewer: Any, *, after: int, limit: int) -> list[dict[str, Any]]:
    """A page of the judgements in a snapshot, those above the id `after`: each with its revision, who made it under
    which guidelines, and which models wrote what was judged."""
    ids = contents.after(snapshot, after, limit)
    rows = Annotation.objects.filter(pk__in=ids).select_related("annotator", "guideline").order_by("pk")
    found = list(rows.defer("body", "shown"))
    sources: dict[int, list[str]] = {}
    wrote = Response.objects.filter(task__in={row.task_id for row in found}).order_by("task", "position")
    for task, source in wrote.values_list("task", "source"):
        sources.setdefault(task, []).append(source or "unknown")
    sees = snapshot.project.role_of(viewer) in SEES_NAMES
    return [
        {
            "annotation_id": row.pk,
            "revision": row.revision,
            "task_id": row.task_id,
            "annotator": row.annotator.username
            if sees
            else pseudonym(snapshot.project, row.annotator_id, simulated=row.annotator.is_simulated),
            "guideline_version": row.guideline.number if row.guideline else None,
            "sources": sources.get(row.task_id, []),
        }
        for row in found
    ]


def about(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "id": snapshot.pk,
        "name": str(snapshot),
        "type": snapshot.type,
        "content_hash": snapshot.content_hash,
        "judgements": snapshot.counts.get("annotations") or 0,
        "withdrawn": snapshot.withdrawn,
        "href": snapshot.get_absolute_url(),
        "annotations": reverse("api-snapshot-annotations", args=[snapshot.pk]),
    }


def _count(snapshot: Snapshot) -> dict[str, Any]:
    people: Counter[str] = Counter()
    guidelines: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    ids = contents.held(snapshot)
    for start in range(0, len(ids), BATCH):
        rows = Annotation.objects.filter(pk__in=ids[start : start + BATCH].tolist())
        tasks: Counter[int] = Counter()
        for annotator, guideline, task in rows.values_list("annotator", "guideline__number", "task"):
            people[str(annotator)] += 1
            guidelines["none" if guideline is None else str(guideline)] += 1
            tasks[task] += 1
        pairs = Response.objects.filter(task__in=list(tasks)).values_list("task", "source").distinct()
        for task, source in pairs:
            sources[source or "unknown"] += tasks[task]
    return {name: dict(counted.most_common()) for name, counted in _named(people, guidelines, sources)}


def _named(*counters: Counter[str]) -> Iterable[tuple[str, Counter[str]]]:
    return zip(("annotators", "guidelines", "sources"), counters, strict=True)


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.pk,
        "name": run.name,
        "kind": run.kind,
        "state": run.state,
        "snapshot": str(run.snapshot) if run.snapshot else None,
        "href": run.get_absolute_url(),
    }
