"""Snapshots: immutable datasets cut from a project's judgements, named by their content; recipes says what counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.text import slugify
from django.utils.translation import gettext

from annotation import exporting
from annotation.exporting import ExportError
from annotation.judged import Selection
from annotation.leaks import Leaks
from annotation.models import Project, User
from annotation.outcomes import Outcome
from annotation.splitting import LEAK, Sides, Split
from rlhf import contents, prompts, snapshot_files
from rlhf.models import Snapshot
from rlhf.recipes import SnapshotError, check_recipe, selection_of, split_of
from rlhf.tallies import Tally

__all__ = ["SnapshotError", "check_recipe", "checked", "cut", "preview"]

TYPES = tuple(Snapshot.Type.values)
LOOK = 5000  # tasks between two beats of a cut, and two looks at whether a preview is still wanted


class NotWanted(Exception):
    """Another recipe is asked about, so this count was given up."""


class Draft:
    """What a recipe gives, a task at a time; its tally is complete once the parts have been read."""

    def __init__(
        self, project: Project, type: str, recipe: dict[str, Any], evaluated: Sequence[prompts.Messages] = ()
    ) -> None:
        """`evaluated` are prompts that count as held out, too, whose copies among the rows are told."""
        self.options = options_in(project, type, recipe)
        self.outcomes = exporting.outcomes(project, type, **self.options)
        selection = Selection(**self.options)
        split = split_of(recipe)
        self.sides = Sides(project, selection, split)
        self.tally = Tally(project.kind, selection, _leaks(split, evaluated))

    def parts(self) -> Iterator[tuple[str, Outcome]]:
        """Each outcome that has rows, with the part they belong to."""
        for outcome in self.outcomes:
            if outcome.left_out:
                self.tally.leave_out(outcome.task_id, outcome.left_out)
            elif part := self.sides.of(outcome.task_id, outcome.prompt):
                self.tally.take(part, outcome)
                yield part, outcome
            else:
                self.tally.leave_out(outcome.task_id, LEAK)


def cut(
    project: Project,
    *,
    name: str,
    type: str,
    recipe: dict[str, Any] | None = None,
    by: User | None = None,
    beat: Callable[[], object] = lambda: None,
) -> Snapshot:
    """The next version of `name`; its latest version when that has the very same content. SnapshotError otherwise.

    `beat` is called now and then, so that whoever watches knows that it goes on.
    """
    whole = checked(name, type, recipe)
    draft = Draft(project, type, whole)
    facts = {"kind": type, "recipe": whole, "projects": [{"slug": project.slug, "kind": project.kind}]}
    with snapshot_files.Folder(exporting.columns(project, type, **draft.options)) as files:
        for place, (part, outcome) in enumerate(draft.parts()):
            files.add(part, outcome.rows)
            if place % LOOK == 0:
                beat()
        tally = draft.tally
        counts = tally.counts()
        if not counts["train"]:
            left_out = ", ".join(f"{count} {reason}" for reason, count in counts["left_out"].items())
            told = (
                gettext("No rows to train on: left out %(left_out)s.") if left_out else gettext("No rows to train on.")
            )
            raise SnapshotError("recipe", told % {"left_out": left_out})
        folder, digest = files.publish(facts, tally)
    contents.store(folder, tally.ids)
    fields: dict[str, Any] = {"type": type, "recipe": whole, "counts": counts, "content_hash": digest, "created_by": by}
    fields |= {"path": f"snapshots/{folder.name}", "size": snapshot_files.size_of(folder)}
    return _store(project, name, fields | {"simulated_share": tally.simulated_share})


def checked(name: str, type: str, recipe: dict[str, Any] | None) -> dict[str, Any]:
    """The recipe with its defaults; SnapshotError for what is wrong whatever the judgements are."""
    if not name or slugify(name) != name.lower() or len(name) > 80:
        raise SnapshotError("name", gettext("A name is letters, digits, hyphens and underscores, at most 80."))
    if type not in TYPES:
        raise SnapshotError(
            "type",
            gettext("A snapshot's type is one of %(types)s, not %(type)r.") % {"types": ", ".join(TYPES), "type": type},
        )
    return check_recipe(recipe or {})


def options_in(project: Project, type: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """A checked recipe as the options of an export; SnapshotError for what this project cannot give."""
    options = selection_of(recipe) | {"shown": True}
    try:
        exporting.checked(project, type, options)
    except ExportError as error:
        raise SnapshotError(error.field, str(error)) from error
    return options


def preview(
    project: Project, type: str, recipe: dict[str, Any] | None = None, *, wanted: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """What `cut` would count, storing nothing; NotWanted as soon as nobody waits for it any more.

    `{"train", "eval", "annotations", "annotators", "left_out": {reason: tasks}, "simulated_share", "warning"}`; the
    warning is one sentence on held-out prompts that are, or nearly are, prompts to train on, or "". Here alone those of
    the project's evaluations are among them: what is cut follows from judgements and recipe.
    """
    draft = Draft(project, type, check_recipe(recipe or {}), list(prompts.evaluated_in(project)))
    for place, _ in enumerate(draft.parts()):
        if place % LOOK == 0 and not wanted():
            raise NotWanted
    tally, leak = draft.tally, draft.tally.leak
    return tally.counts() | {"simulated_share": tally.simulated_share, "warning": str(leak) if leak else ""}


def _leaks(split: Split, evaluated: Sequence[prompts.Messages]) -> Leaks | None:
    """What looks for held-out prompts among those to train on, where a split by itself does not keep them apart."""
    if split.near and not evaluated:
        return None
    leaks = Leaks()
    leaks.add(evaluated, held_out=True)
    return leaks


def _store(project: Project, name: str, fields: dict[str, Any]) -> Snapshot:
    versions = Snapshot.objects.filter(project=project, name=name)
    latest = versions.order_by("-version").first()
    if latest and latest.content_hash == fields["content_hash"]:
        return latest
    for last_try in (False, False, True):
        number = (versions.aggregate(last=Max("version"))["last"] or 0) + 1
        try:
            with transaction.atomic():
                return Snapshot.objects.create(project=project, name=name, version=number, **fields)
        except IntegrityError:  # somebody cut the same name at the same moment
            if last_try:
                raise
    raise AssertionError("unreachable")
