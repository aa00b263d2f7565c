"""The small numbers beside the side bar's entries for the loop."""

from __future__ import annotations

from django.utils.translation import gettext

from annotation import shell
from annotation.models import Project
from rlhf.models import Model, Round, Run, Snapshot


def register() -> None:
    """Show the counts beside the entries; called when the app is ready."""
    shell.count("rlhf:loop", open_round)
    shell.count("rlhf:datasets", snapshots)
    shell.count("rlhf:runs", live_runs)
    shell.count("rlhf:models", policies)


def open_round(project: Project) -> str:
    number = Round.objects.open().filter(project=project).values_list("number", flat=True).first()
    return gettext("round %(number)s") % {"number": number} if number else ""


def snapshots(project: Project) -> str:
    return str(Snapshot.objects.filter(project=project).count() or "")


def live_runs(project: Project) -> str:
    live = Run.objects.live().filter(project=project).count()
    return gettext("%(count)s live") % {"count": live} if live else ""


def policies(project: Project) -> str:
    return str(Model.objects.policies().filter(project=project).count() or "")
