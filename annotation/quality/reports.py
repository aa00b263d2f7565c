"""Which figures are at hand, how old they are, and who works out new ones: a page for small projects, else the worker.

This module is imported by pages; what it computes with is imported when it computes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone
from django.utils.translation import gettext
from django_tasks import task

from annotation import rule_changes, statistics
from annotation.agreement import NotComparable, agreement
from annotation.models import Adjudication, Annotation, Project, QualityReport, RepeatCheck
from annotation.writes import write_transaction

log = logging.getLogger(__name__)

SMALL, FEW_TASKS = 5_000, 20_000  # judgements and tasks up to which a page may count and compare
TINY = 1_000  # judgements up to which it may work out a whole report, with its thousands of replicates
LOOKED_AT = timedelta(hours=1)  # a look is noted this often
WATCHED = timedelta(days=7)  # reports that nobody asked for since are left alone
FORGOTTEN = timedelta(days=30)  # after which a comparison that nobody asked for again is removed
LOST = timedelta(minutes=30)  # a refresh that was queued and never came
PAUSE, SHARE = timedelta(minutes=1), 20  # at least this long between refreshes, and 20 times what the last one took
MOST_AT_ONCE = 20
LONGEST_KEY = 500
WANTING = ("overlap", "agreement_share", "agreement_overlap", "gold_share")  # what is still wanted depends on them
FORM = 5  # of the report; one of an earlier form is worked out anew


def of(project: Project) -> QualityReport:
    """The project's report as good as it can be had now.

    A tiny project's is worked out here and now when it is out of date. Any other is handed to the worker and the last
    one comes back meanwhile, with empty `data` when there was none.
    """
    return _current(project, "")


def stats(project: Project, *, names: bool) -> dict[str, Any] | None:
    """What statistics.project_stats says, with a forecast; a large project's as the report has it, None until then."""
    if is_small(project):
        counted = statistics.project_stats(project, names=names)
        return counted | {"computed_at": timezone.now(), "forecast": statistics.forecast_of(counted)}
    report = of(project)
    if not report.data:
        return None
    kept = dict(named(report.data, project, names=names)["stats"])
    return kept | {"computed_at": report.computed_at, "forecast": statistics.forecast_of(kept)}


def agreement_of(project: Project, options: dict[str, Any]) -> dict[str, Any] | None:
    """What agreement.agreement says for `options` (a, b: the groups), with every measure and its interval.

    Those of everybody's votes are the report's.

    The comparison of a large project is the worker's, and so are all measures with replicates: None until it has them.
    """
    if is_small(project):
        found, computed_at = _agreement(project, options), timezone.now()
    else:
        kept = _current(project, _key(options))
        if not kept.data:
            return None
        found, computed_at = kept.data, kept.computed_at or timezone.now()
    found = found | {"computed_at": computed_at}
    if "measures" not in found:
        found["measures"] = _measures(of(project), options.get("aspect"))
    return found


def refresh(project: Project) -> QualityReport:
    """Have the report worked out again, whether or not it is out of date."""
    report = _row(project, "")
    if is_small(project, TINY):
        return compute(report)
    enqueue(report)
    report.refresh_from_db()
    return report


def make_ready(project: Project) -> QualityReport:
    """The report as things stand, worked out here if need be: for a command, whose caller expects to wait."""
    report = _row(project, "")
    return compute(report) if is_stale(report) else report


def is_small(project: Project, most: int | None = None) -> bool:
    """Whether a page may compute: told by one step in an index, never by counting."""
    judged = Annotation.objects.filter(project=project).order_by("pk").values_list("pk", flat=True)
    tasks = project.tasks.order_by("pk").values_list("pk", flat=True)
    most = SMALL if most is None else most
    return not judged[most : most + 1] and not tasks[FEW_TASKS : FEW_TASKS + 1]


def is_stale(report: QualityReport) -> bool:
    """Whether judgements, tasks or a day came since; in a large project what was taken back shows at the next one."""
    return report.computed_at is None or report.watermark != watermark(report.project)


def watermark(project: Project) -> dict[str, Any]:
    """What a report was made from, in a few steps in indexes; what stands is counted only where that is cheap."""
    judged, small = Annotation.objects.filter(project=project), is_small(project)
    decided = Adjudication.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    return {
        "annotation": judged.aggregate(last=Max("pk"))["last"],
        "task": project.tasks.aggregate(last=Max("pk"))["last"],
        "decided": decided,  # a return, or an item made gold, changes what is compared
        "standing": judged.standing().count() if small else None,
        "gold": project.tasks.filter(is_gold=True).count() if small else None,
        "repeats": RepeatCheck.objects.answered().filter(project=project).count() if small else None,
        "rules": [getattr(project, name) for name in WANTING],
        "applied": rule_changes.last_applied(project),
        "questions": project.questions,
        "guidelines": project.guideline_versions.count(),
        "day": timezone.now().date().isoformat(),
        "form": FORM,
    }


def named(data: dict[str, Any], project: Project, *, names: bool) -> dict[str, Any]:
    """A report's data with people's names, or their pseudonyms, for the ids of their accounts."""
    if not data:
        return data
    pairs = [pair for question in data["questions"] for pair in question["people"]]
    ids = {row["annotator"] for row in data["annotators"]} | {pair[side] for pair in pairs for side in ("a", "b")}
    called = statistics.callings(project, ids, names=names)
    name = {pk: words["annotator"] for pk, words in called.items()}
    questions = [
        question
        | {"people": [p | {"a": name.get(p["a"], "?"), "b": name.get(p["b"], "?")} for p in question["people"]]}
        for question in data["questions"]
    ]
    rows = _called(data["annotators"], called)
    periods = {days: _called(known, called) for days, known in data.get("periods", {}).items()}
    stats = data["stats"] | {"annotators": rows}
    return data | {"questions": questions, "annotators": rows, "periods": periods, "stats": stats}


def enqueue(report: QualityReport) -> bool:
    """Hand the report to the worker unless it waits there already; whether this call did."""
    now = timezone.now()
    with write_transaction():
        free = QualityReport.objects.filter(Q(queued_at=None) | Q(queued_at__lt=now - LOST), pk=report.pk)
        if not free.update(queued_at=now):
            return False
        transaction.on_commit(lambda: run.enqueue(report.pk))
    return True


@task()
def run(report_id: int) -> None:
    """Work a queued report out; what went wrong is told in the report, where people look."""
    report = QualityReport.objects.select_related("project").filter(pk=report_id).first()
    if report is None:  # its project is gone
        return
    try:
        compute(report)
    except Exception as error:
        log.exception("The quality of %s could not be worked out", report.project.slug)
        problem = f"The last refresh failed: {type(error).__name__}: {error}"[:300]
        QualityReport.objects.filter(pk=report_id).update(queued_at=None, problem=problem)
        raise


def compute(report: QualityReport) -> QualityReport:
    """The report with new figures, saved."""
    begun, mark = time.monotonic(), watermark(report.project)
    report.data = _maker(report)(report.project)
    report.watermark, report.computed_at, report.queued_at, report.problem = mark, timezone.now(), None, ""
    report.seconds = round(time.monotonic() - begun, 3)
    with write_transaction():
        report.save(update_fields=["data", "watermark", "computed_at", "queued_at", "problem", "seconds"])
    return report


def sweep() -> int:
    """Queue the reports that people look at and that are out of date; gives how many."""
    now = timezone.now()
    QualityReport.objects.filter(asked_at__lt=now - FORGOTTEN).exclude(key="").delete()
    watched = QualityReport.objects.filter(asked_at__gt=now - WATCHED).defer("data").select_related("project")
    waiting = watched.filter(Q(queued_at=None) | Q(queued_at__lt=now - LOST)).order_by("computed_at")
    return sum(enqueue(report) for report in waiting[:MOST_AT_ONCE] if _is_due(report) and is_stale(report))


def _current(project: Project, key: str) -> QualityReport:
    report = _row(project, key)
    if not is_stale(report):
        return report
    if is_small(project, TINY):
        return compute(report)
    if _is_due(report) and enqueue(report):
        report.queued_at = timezone.now()
    return report


def _row(project: Project, key: str) -> QualityReport:
    """The report's row, with the look noted now and then."""
    now = timezone.now()
    report = QualityReport.objects.filter(project=project, key=key).first()
    if report is None:
        with write_transaction():
            report, _ = QualityReport.objects.get_or_create(project=project, key=key)
    elif report.asked_at < now - LOOKED_AT:
        QualityReport.objects.filter(pk=report.pk).update(asked_at=now)
    report.project = project
    return report


def _is_due(report: QualityReport) -> bool:
    """A large report is not worked out all day long because people judge all day long."""
    if report.computed_at is None:
        return True
    return timezone.now() - report.computed_at > max(PAUSE, timedelta(seconds=SHARE * report.seconds))


def _called(rows: list[dict[str, Any]], called: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of people by name, the busiest first; accounts that are gone have none."""
    found = [row | called[row["annotator"]] for row in rows if row["annotator"] in called]
    return sorted(found, key=lambda row: (-row["count"], row["annotator"]))


def _measures(report: QualityReport, aspect: str | None) -> dict[str, Any] | None:
    """Every measure of the main question, or of an aspect, with its interval; None until the report has it."""
    questions = report.data.get("questions", [])
    wanted = [one for one in questions if aspect is None or one["name"] == f"aspect:{aspect}"]
    return wanted[0]["overall"]["measures"] if wanted and wanted[0]["overall"] else None


def _agreement(project: Project, options: dict[str, Any]) -> dict[str, Any]:
    groups = tuple(options[name] for name in ("a", "b") if name in options)
    rest = {name: value for name, value in options.items() if name not in ("a", "b")}
    found = agreement(project, groups=groups or None, **rest)
    if {name for name in options if options[name] is not True} <= {"aspect"}:
        return found
    from annotation.quality.groups import measures  # numpy: only where something is computed

    kept = {name: value for name, value in rest.items() if name in ("ties", "aspect")}
    return found | {"measures": measures(project, groups=found["groups"], purpose=rest.get("purpose"), **kept)}


def _key(options: dict[str, Any]) -> str:
    key = json.dumps(options, sort_keys=True, ensure_ascii=False)
    if len(key) > LONGEST_KEY:
        raise NotComparable(gettext("The names of the groups are too long."))
    return key


def _maker(report: QualityReport) -> Callable[[Project], dict[str, Any]]:
    if report.key:
        options = json.loads(report.key)
        return lambda project: _agreement(project, options)
    from annotation.quality import report as whole  # numpy: only where something is computed

    return whole.build
