"""Which models and runs stand on judgements that were withdrawn since: one look at the registry for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext, ngettext

from annotation.models import Withdrawal
from rlhf.models import Model, Run, Snapshot

Behind = dict[int, frozenset[int]]  # model: the snapshots behind it


@dataclass(frozen=True)
class Retrain:
    """What should be made anew without the judgements of one withdrawal, as things stand now."""

    models: list[Model] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)  # that have not ended: what they make will stand on them too


def snapshots_behind() -> Behind:
    """The snapshots behind each model, through all that it was trained from or with: one statement."""
    edges = Model.objects.order_by("pk").values_list(
        "pk", "run__snapshot", "parent", "run__start_model", "run__reward_model"
    )
    rows = list(edges)
    found: Behind = {pk: frozenset() if own is None else frozenset([own]) for pk, own, *_ in rows}
    changed = True
    while changed:  # a model is younger than what it was made from, so the second turn finds nothing new
        changed = False
        for pk, _, *sources in rows:
            held = found[pk].union(*(found[one] for one in sources if one in found))
            changed, found[pk] = changed or held != found[pk], held
    return found


def made_from(snapshots: Iterable[Snapshot]) -> list[Model]:
    """The models trained on these snapshots, and all that were trained from those or with their scores."""
    ids = {one.pk for one in snapshots}
    found = [pk for pk, held in snapshots_behind().items() if held & ids] if ids else []
    return list(Model.objects.filter(pk__in=found).order_by("pk"))


def under_way(snapshots: Iterable[Snapshot]) -> list[Run]:
    """The runs that have not ended and learn from these snapshots, or from models that were made from them."""
    ids = {one.pk for one in snapshots}
    return [run for run, held in _unfinished(snapshots_behind()) if held & ids] if ids else []


def behind_models() -> dict[int, list[Snapshot]]:
    """For each model that stands on such judgements the snapshots they are in; one or two statements."""
    marked = Snapshot.objects.filter(withdrawn__gt=0).in_bulk()
    if not marked:
        return {}
    found = {pk: [marked[one] for one in sorted(held) if one in marked] for pk, held in snapshots_behind().items()}
    return {pk: snapshots for pk, snapshots in found.items() if snapshots}


def words(snapshots: Sequence[Snapshot]) -> str:
    """`12 judgments of prefs v1 and 1 judgment of answers v2`."""
    said = [
        ngettext("%(count)s judgment of %(snapshot)s", "%(count)s judgments of %(snapshot)s", one.withdrawn)
        % {"count": f"{one.withdrawn:,}", "snapshot": one}
        for one in snapshots
    ]
    return gettext(" and ").join(said)


def as_rows(snapshots: Iterable[Snapshot]) -> list[dict[str, Any]]:
    return [{"snapshot": one.pk, "name": str(one), "judgements": one.withdrawn} for one in snapshots]


def retrain(withdrawals: Iterable[Withdrawal]) -> dict[int, Retrain]:
    """For each withdrawal what stands on its judgements now, which may have been made since; three statements."""
    asked = {one.pk: {row["id"] for row in one.effects.get("snapshots") or ()} for one in withdrawals}
    if not any(asked.values()):
        return {pk: Retrain() for pk in asked}
    behind = snapshots_behind()
    every = set().union(*asked.values())
    models = Model.objects.filter(pk__in=[pk for pk, held in behind.items() if held & every])
    known, runs = list(models.order_by("pk")), _unfinished(behind)
    return {
        pk: Retrain([one for one in known if behind[one.pk] & ids], [run for run, held in runs if held & ids])
        for pk, ids in asked.items()
    }


def _unfinished(behind: Behind) -> list[tuple[Run, frozenset[int]]]:
    """The runs that have not ended, each with the snapshots behind what it will make."""
    rows = Run.objects.exclude(state__in=Run.ENDED).select_related("project").order_by("pk")
    nothing: frozenset[int] = frozenset()
    found = []
    for run in rows:
        own = frozenset([run.snapshot_id]) if run.snapshot_id else nothing
        start, reward = (behind.get(pk or 0, nothing) for pk in (run.start_model_id, run.reward_model_id))
        found.append((run, own | start | reward))
    return found
