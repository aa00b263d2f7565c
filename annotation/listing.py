"""The judgements of a project as a lead reads through them: the latest first, of one person, or flagged.

Every list is read along an index and stops at a page. What no index knows (flags, versions, gold items) is looked for
among the latest judgements alone, so that a page costs the same in a project of a million.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from annotation.models import Annotation, GoldResult, Project

LOOKED_AT = 20_000  # of the latest judgements, where flags and versions are looked for


def found(project: Project, filters: dict[str, Any]) -> tuple[QuerySet[Annotation], bool]:
    """The standing judgements that match, and whether there are older ones that were not looked at.

    `filters` may have annotator (a user), since, until, flag (a name, or any), guideline (a number), and gold: right or
    missed, by the first answer to an item whose answer is known.
    """
    rows = Annotation.objects.standing().filter(project=project)
    if annotator := filters.get("annotator"):
        rows = rows.filter(annotator=annotator)
    if since := filters.get("since"):
        rows = rows.filter(created_at__gte=since)
    if until := filters.get("until"):
        rows = rows.filter(created_at__lt=until)
    rows = rows.order_by(*_order(filters))
    if not filters.keys() & {"flag", "guideline", "gold"}:
        return rows, False
    more = rows.values_list("pk", flat=True)[LOOKED_AT : LOOKED_AT + 1].exists()
    kept = Annotation.objects.filter(pk__in=rows.values("pk")[:LOOKED_AT])
    if flag := filters.get("flag"):  # neither database can ask for an element of a JSON list in the same words
        kept = kept.filter(body__flags__icontains='"' if flag == "any" else f'"{flag}"')
    if guideline := filters.get("guideline"):
        kept = kept.filter(guideline__number=guideline)
    if gold := filters.get("gold"):
        results = GoldResult.objects.filter(task=OuterRef("task"), annotator=OuterRef("annotator"))
        kept = kept.filter(Exists(results.filter(correct=gold == "right")))
    return kept.order_by(*_order(filters)), more


def after(rows: QuerySet[Annotation], filters: dict[str, Any], place: Annotation | None) -> QuerySet[Annotation]:
    """Those of `rows` that come after one of them."""
    if place is None:
        return rows
    if len(_order(filters)) == 1:
        return rows.filter(pk__lt=place.pk)
    earlier = Q(created_at__lt=place.created_at) | Q(created_at=place.created_at, pk__lt=place.pk)
    return rows.filter(earlier, created_at__lte=place.created_at)


def _order(filters: dict[str, Any]) -> tuple[str, ...]:
    """As an index has them: of everybody by number, of one person or between two days by time."""
    return ("-created_at", "-pk") if filters.keys() & {"annotator", "since", "until"} else ("-pk",)
