"""Judgements out of a project, as the rows that trainers read or as the raw record of who said what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from django.db.models import Q
from django.utils.text import get_valid_filename
from django.utils.translation import gettext

from annotation import (
    aggregation,
    foreign_exports,
    page_writing,
    pair_pages,
    raw_pages,
    saved_datasets,
    withdrawals,
    writing,
)
from annotation.aggregation import Row
from annotation.judged import Selection, judged_tasks
from annotation.models import Annotation, Kind, Project, User
from annotation.outcomes import Outcome, found_in
from annotation.questions import questions_of
from annotation.raw_rows import COLUMNS as RAW
from annotation.raw_rows import EXTRAS as RAW_EXTRAS
from annotation.raw_rows import pseudonym
from annotation.splitting import PARTS, Sides, Split

__all__ = ["FORMATS", "TYPES", "ExportError", "Outcome", "outcomes", "pseudonym", "rows", "stream", "types_of", "write"]

TYPES = ("sft", "preference", "binary", "rating", "ranking", "raw")
FOREIGN = {"label-studio": foreign_exports.label_studio, "argilla": foreign_exports.argilla}
FORMATS = (*writing.FORMATS, "datasets", *FOREIGN)
SUFFIXES = {"datasets": "zip", "label-studio": "json", "argilla": "json"}  # where it is not the format's own name
AGGREGATIONS = ("majority", "strength", "each", "posterior")
CHOICES = {
    "aggregation": AGGREGATIONS,
    "flags": ("drop", "keep"),
    "ties": ("drop", "half"),
    "rulings": ("prefer", "ignore"),
    "improved": ("keep", "drop"),
}


class ExportError(ValueError):
    """This project cannot give what was asked for; the message is one sentence, `field` the option to change."""

    def __init__(self, message: str, field: str = "type") -> None:
        super().__init__(message)
        self.field = field


def types_of(kind: str) -> list[str]:
    """The types that a project of this kind can honestly yield."""
    return [*aggregation.MAKERS[kind], *(["preference"] if kind == Kind.RATING else []), "raw"]


def outcomes(project: Project, type: str, **options: Any) -> Iterator[Outcome]:
    """What each judged task gives, by task id; for snapshots, which account for every judgement."""
    return found_in(project, type, checked(project, type, options))


def rows(
    project: Project, type: str, *, split: Split | None = None, part: str | None = None, **options: Any
) -> Iterator[Row]:
    """The rows of one type, or of one part of a split; see judged.Selection for the options."""
    found = outcomes(project, type, **options)
    if part is not None:
        sides = Sides(project, Selection(**options), split or Split())
        found = (outcome for outcome in found if sides.of(outcome.task_id, outcome.prompt) == part)
    return (row for outcome in found for row in outcome.rows)


def stream(
    project: Project, type: str, format: str, *, split: Split | None = None, part: str | None = None, **options: Any
) -> Iterator[bytes]:
    """An export file piece by piece; what cannot be given raises ExportError at once, before the first piece.

    A `datasets` folder comes as a zip; with a split and no part it holds both parts.
    """
    _check_format(project, type, format, split, part, options)
    if format in FOREIGN:
        selection = checked(project, "raw", options | {"extras": True})
        return FOREIGN[format](project, judged_tasks(project, selection), names=selection.names)
    if format == "datasets":
        return saved_datasets.zipped(_saved(project, type, split, part, options), f"{project.slug}-{type}")
    if part is None and format in page_writing.WRITERS:
        selection = checked(project, type, options)
        if pair_pages.suits(project, type, selection):
            return page_writing.WRITERS[format](pair_pages.pages(project, selection), pair_pages.FORMS)
        if raw_pages.suits(type, selection):
            return page_writing.WRITERS[format](raw_pages.pages(project, selection), raw_pages.FORMS)
    found = rows(project, type, split=split, part=part, **options)
    return writing.WRITERS[format](found, columns(project, type, **options))


def write(
    project: Project,
    type: str,
    format: str,
    path: Path,
    *,
    split: Split | None = None,
    part: str | None = None,
    **options: Any,
) -> int:
    """Write an export file, which appears under its name only when it is complete; gives its size in bytes.

    `datasets` makes a folder.
    """
    if format == "datasets":
        _check_format(project, type, format, split, part, options)
        return saved_datasets.to_folder(_saved(project, type, split, part, options), path)
    return writing.to_file(stream(project, type, format, split=split, part=part, **options), path)


def file_name(project: Project, type: str, format: str, part: str | None = None) -> str:
    """A name for the download that is safe in a header and in a folder."""
    name = "-".join([project.slug, type, *([part] if part else [])])
    return get_valid_filename(f"{name}.{SUFFIXES.get(format, format)}")


def columns(project: Project, type: str, *, extras: bool = False, aggregation: str = "", **_: Any) -> dict[str, str]:
    """The columns of a type, under the options that add some, and what they hold: see writing.Columns."""
    found = dict(COLUMNS[type])
    if type == "preference" and aggregation == "posterior":
        found["posterior"] = "float"
    if type == "rating":
        found |= {aspect["name"]: "float" for aspect in questions_of(project)["aspects"]}
    if extras:
        found |= RAW_EXTRAS if type == "raw" else EXTRAS
    return found


def schema(project: Project, type: str, **options: Any) -> Any:
    """The pyarrow schema of a type's rows."""
    return writing.arrow_schema(columns(project, type, **options))


COLUMNS: dict[str, dict[str, str]] = {
    "sft": {"prompt": "messages", "completion": "messages"},
    "preference": {
        "prompt": "messages",
        "chosen": "messages",
        "rejected": "messages",
        "margin": "float",
        "agreement": "float",
        "weight": "float",
        "task_id": "integer",
    },
    "binary": {"prompt": "messages", "completion": "messages", "label": "boolean"},
    "rating": {"prompt": "messages", "completion": "messages"},
    "ranking": {
        "prompt": "messages",
        "responses": "texts",
        "ranks": "floats",
        "agreement": "float",
        "weight": "float",
        "task_id": "integer",
    },
    "raw": RAW,
}
EXTRAS = {"external_id": "text", "metadata": "json"}


def checked(project: Project, type: str, options: dict[str, Any]) -> Selection:
    """The options as a selection; ExportError says what this project cannot give."""
    if type not in TYPES:
        raise ExportError(
            gettext("The type must be one of %(types)s, not %(type)r.") % {"types": ", ".join(TYPES), "type": type}
        )
    if type not in types_of(project.kind):
        raise ExportError(
            gettext("A %(kind)s project gives %(types_of)s, but no %(type)s rows.")
            % {"kind": project.kind, "types_of": ", ".join(types_of(project.kind)), "type": type}
        )
    if strange := options.keys() - {known.name for known in fields(Selection)}:
        raise ExportError(gettext("There is no export option %(field)s.") % {"field": min(strange)})
    more = {"without": withdrawals.prompts_of(project), "timed": type == "raw"}
    selection = Selection(**options | more)
    for name, allowed in CHOICES.items():
        if getattr(selection, name) not in allowed:
            raise ExportError(
                gettext("%(name)s must be one of %(allowed)s, not %(value)r.")
                % {"name": name, "allowed": ", ".join(allowed), "value": getattr(selection, name)}
            )
    paired = project.kind in (Kind.PREFERENCE, Kind.RANKING) and type in ("preference", "binary")
    if selection.aggregation == "posterior" and not paired:
        raise ExportError(
            gettext("A posterior is of pairs: ask for preference or binary rows of a preference or ranking project."),
            "aggregation",
        )
    if not 0 <= selection.min_agreement <= 1:
        raise ExportError(
            gettext("min_agreement must lie between 0 and 1, not %(min_agreement)s.")
            % {"min_agreement": selection.min_agreement},
            "min_agreement",
        )
    if selection.min_agreement and type in ("sft", "rating", "raw"):
        raise ExportError(
            gettext("min_agreement is of verdicts, and %(type)s rows are none: leave it out.") % {"type": type},
            "min_agreement",
        )
    if project.kind == Kind.RATING:
        _check_ratings(project, type, selection)
    _check_people(project, selection)
    if type != "raw" and selection.history:
        raise ExportError(gettext("Only raw rows have a history: training rows come from the standing judgements."))
    return selection


def _check_ratings(project: Project, type: str, selection: Selection) -> None:
    if type == "binary" and selection.threshold is None:
        raise ExportError(
            gettext("Good or bad from ratings needs a threshold: the mean rating from which an answer is good."),
            "threshold",
        )
    if type == "preference" and selection.gap is None:
        raise ExportError(
            gettext("Pairs from ratings need a gap: the difference of mean ratings that makes one answer better."),
            "gap",
        )
    if selection.gap is not None and selection.gap < 0:
        raise ExportError(gettext("gap must not be below 0, but is %(gap)s.") % {"gap": selection.gap}, "gap")
    names = [aspect["name"] for aspect in questions_of(project)["aspects"]]
    if selection.aspect is not None and selection.aspect not in names:
        raise ExportError(
            gettext("There is no aspect %(aspect)r here; there are %(names)s.")
            % {"aspect": selection.aspect, "names": ", ".join(names)},
            "aspect",
        )


def _check_people(project: Project, selection: Selection) -> None:
    """A misspelled name would leave nobody out and say nothing."""
    here = Q(memberships__project=project) | Q(pk__in=project.annotations.order_by().values("annotator"))
    asked = set(selection.exclude_annotators)
    known = User.objects.filter(here, username__in=asked).values_list("username", flat=True) if asked else ()
    if unknown := sorted(asked.difference(known)):
        raise ExportError(
            gettext("exclude_annotators names %(unknown)r, but nobody of that name works or judged in %(project)s.")
            % {"unknown": unknown[0], "project": project.slug},
            "exclude_annotators",
        )


def _check_format(
    project: Project, type: str, format: str, split: Split | None, part: str | None, options: dict[str, Any]
) -> None:
    if format not in FORMATS:
        raise ExportError(
            gettext("The format must be one of %(formats)s, not %(format)r.")
            % {"formats": ", ".join(FORMATS), "format": format}
        )
    checked(project, type, options)
    if type == "sft" and project.kind == Kind.PREFERENCE and not _has_edits(project):
        raise ExportError(
            gettext("The sft rows of a preference project are answers that somebody improved, and nobody did yet.")
        )
    if format in FOREIGN and type != "raw":
        raise ExportError(
            gettext("%(format)s files hold the judgements themselves: ask for them with the type raw.")
            % {"format": format}
        )
    if part is not None and part not in PARTS:
        raise ExportError(
            gettext("A part is one of %(parts)s, not %(part)r.") % {"parts": ", ".join(PARTS), "part": part}
        )
    if type == "raw" and (split or part):
        raise ExportError(gettext("Only training rows are split: raw rows are a record, not something to train on."))


def _has_edits(project: Project) -> bool:
    return project.annotations.filter(status=Annotation.Status.SUBMITTED, body__has_key="improved").exists()


def _saved(
    project: Project, type: str, split: Split | None, part: str | None, options: dict[str, Any]
) -> Iterator[saved_datasets.File]:
    names = [""] if part is not None or split is None else PARTS
    parts: saved_datasets.Parts = {
        name: partial(rows, project, type, split=split, part=part or name or None, **options) for name in names
    }
    return saved_datasets.files(parts, columns(project, type, **options))
