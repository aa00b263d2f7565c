"""How large projects are and how far, for lists and the side bar: never counted where a report tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from annotation.models import Project, QualityReport, Task

LARGE = 20_000  # tasks from which on counting them is felt
FRESH = timedelta(days=1)  # a report that nobody has had worked out again since is not believed


@dataclass(frozen=True, slots=True)
class Size:
    tasks: int = 0
    share: float = 0.0  # of the judgements wanted that are there


def of_each(projects: Sequence[Project]) -> dict[int, Size]:
    """{project id: its size}; a large one's is that of its latest report."""
    reports = QualityReport.objects.filter(project__in=projects, key="", computed_at__gt=timezone.now() - FRESH)
    told = reports.values_list("project", "data__stats__tasks__total", "data__stats__judgements__share")
    found = {pk: Size(total, share) for pk, total, share in told if total and total >= LARGE}
    rest = Task.objects.filter(project__in=[one for one in projects if one.pk not in found]).wanted()
    sums: Any = rest.order_by().values_list("project").annotate(n=Count("pk"), done=Sum("done"), need=Sum("need"))
    found |= {pk: Size(n, min(1.0, done / need) if need else 0.0) for pk, n, done, need in sums}
    return found
