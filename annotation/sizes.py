"""How large projects are and how far, for lists and the side bar: a large one is never counted for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, OuterRef, Subquery, Sum
from django.utils import timezone

from annotation.models import Project, QualityReport, Task
from annotation.quality import reports

LARGE = 20_000  # tasks from which on counting them is felt
FRESH = timedelta(days=1)  # a report older than this is asked for anew; until that is there it is told all the same


@dataclass(frozen=True, slots=True)
class Size:
    tasks: int = 0
    share: float = 0.0  # of the judgements wanted that are there
    counted: bool = True  # else there are at least so many tasks, and the worker counts them


def of_each(projects: Sequence[Project]) -> dict[int, Size]:
    """{project id: its size}; a large one's is that of its latest report, which the worker is asked for if need be."""
    known = QualityReport.objects.filter(project__in=projects, key="").exclude(computed_at=None)
    told = known.values_list("project", "computed_at", "data__stats__tasks__total", "data__stats__judgements__share")
    found, old = {}, timezone.now() - FRESH
    for pk, computed_at, total, share in told:
        if total and total >= LARGE:
            found[pk] = Size(total, share)
            if computed_at is not None and computed_at < old:
                reports.of(next(one for one in projects if one.pk == pk))
    rest = _small([one for one in projects if one.pk not in found], found)
    rows = Task.objects.filter(project__in=rest).wanted().order_by()
    sums: Any = rows.values_list("project").annotate(n=Count("pk"), done=Sum("done"), need=Sum("need")) if rest else ()
    found |= {pk: Size(n, min(1.0, done / need) if need else 0.0) for pk, n, done, need in sums}
    return found


def _small(projects: Sequence[Project], found: dict[int, Size]) -> list[Project]:
    """Those that may be counted; what is known of the others goes into `found`."""
    beyond = Task.objects.filter(project=OuterRef("pk")).order_by("pk").values("pk")[LARGE : LARGE + 1]
    asked = Project.objects.filter(pk__in=[one.pk for one in projects]).annotate(beyond=Subquery(beyond))
    large = set(asked.exclude(beyond=None).values_list("pk", flat=True)) if projects else set()
    for project in projects:
        if project.pk in large:
            reports.of(project)
            found[project.pk] = Size(LARGE, counted=False)
    return [one for one in projects if one.pk not in large]
