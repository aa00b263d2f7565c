"""Which judgements are part of a snapshot: they may not change any more."""

from __future__ import annotations

from annotation.models import Annotation
from rlhf import contents
from rlhf.models import Snapshot


def holders(annotations: list[Annotation]) -> dict[int, str]:
    """{annotation id: name of the first snapshot that holds it}, for those that some snapshot holds."""
    found: dict[int, str] = {}
    by_project: dict[int, list[Annotation]] = {}
    for annotation in annotations:
        by_project.setdefault(annotation.project_id, []).append(annotation)
    for project, asked in by_project.items():
        # What was judged after a snapshot was cut cannot be in it, so the usual undo opens no snapshot at all.
        earliest = min(annotation.created_at for annotation in asked)
        for snapshot in Snapshot.objects.filter(project=project, created_at__gte=earliest).order_by("pk"):
            left = [one.pk for one in asked if one.pk not in found]
            found |= dict.fromkeys(contents.among(snapshot, left), str(snapshot))
    return found
