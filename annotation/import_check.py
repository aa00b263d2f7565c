"""What the import page says about one file: its shape, fields, problems, first rows, and what it will cost to judge."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.translation import gettext, gettext_noop

from annotation import cost, rendering, shapes
from annotation.mapping import LEAVE_OUT, LETTERED, NUMBERED, TAG, TARGETS, in_words
from annotation.models import ImportJob, Kind, Project
from annotation.personal import KINDS
from annotation.questions import questions_of
from annotation.reading.tables import cell_out
from annotation.screen import ROLES, SHORT

PROBLEMS_SHOWN = 200
REMEMBERED_SHOWN = 20
CHECKED_AT_ONCE = 2000  # records
CONTAINERS = {
    "jsonl": gettext_noop("JSONL, one object a line"),
    "json": gettext_noop("JSON, one array"),
    "csv": gettext_noop("CSV table"),
    "tsv": gettext_noop("TSV table"),
    "parquet": gettext_noop("Parquet"),
    "datasets": gettext_noop("Saved datasets folder"),
    "hub": gettext_noop("Hub dataset"),
}
SIDES = {Kind.PREFERENCE: 2, Kind.RANKING: 8, Kind.RATING: 1, Kind.DEMONSTRATION: 1}


@dataclass
class ImportCheck:
    """One job for the page; `row` is the sample that is shown, from 1."""

    project: Project
    job: ImportJob
    row: int = 1

    @property
    def report(self) -> dict[str, Any]:
        return dict(self.job.report)

    @property
    def waits(self) -> bool:
        return self.job.state in (ImportJob.State.QUEUED, ImportJob.State.RUNNING)

    @property
    def checks(self) -> bool:
        """Whether it is only read, or imported."""
        return bool(self.job.options.get("dry_run"))

    @property
    def version(self) -> str:
        return version_of(self.job)

    @property
    def container(self) -> str:
        return gettext(CONTAINERS.get(self.report.get("source", {}).get("container", ""), gettext_noop("Records")))

    @property
    def shape(self) -> str:
        shape = shapes.SHAPES.get(self.report.get("source", {}).get("shape", ""))
        return gettext(shape.label) if shape else ""

    @property
    def total(self) -> int:
        return int(self.job.options.get("expected") or 0)

    @property
    def share(self) -> float:
        return min(1.0, self.report.get("read", 0) / self.total) if self.total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the last record is read, if it goes on as so far."""
        read = int(self.report.get("read", 0))
        known = self.total and read and "seconds" in self.report
        return self.report["seconds"] * max(self.total - read, 0) / read if known else None

    @property
    def encoding(self) -> str:
        return str(self.report.get("source", {}).get("encoding", ""))

    @property
    def mapped(self) -> str:
        """given, remembered or guessed."""
        return str(self.report.get("source", {}).get("mapped", ""))

    @property
    def is_small(self) -> bool:
        """Whether another mapping is checked while the person looks on."""
        return int(self.report.get("read", 0)) <= CHECKED_AT_ONCE

    @property
    def good(self) -> int:
        return int(self.report.get("created", 0) + self.report.get("updated", 0))

    @property
    def shares(self) -> dict[str, float]:
        read = max(self.report.get("read", 0), 1)
        return {"bad": self.report.get("bad_count", 0) / read, "ready": 1 - self.report.get("bad_count", 0) / read}

    @property
    def problems(self) -> list[dict[str, Any]]:
        return list(self.report.get("bad", [])[:PROBLEMS_SHOWN])

    @property
    def repeats(self) -> dict[str, Any]:
        return dict(self.report.get("same_prompts", {}))

    @cached_property
    def personal(self) -> list[dict[str, Any]]:
        """What looks personal, each with its words, its field, how often, where first, and what becomes of it."""
        mapping = self.report.get("source", {}).get("mapping", {})
        return [
            one | {"what": KINDS.get(one["kind"], one["kind"]), "out": mapping.get(one["field"]) == LEAVE_OUT}
            for one in self.report.get("personal", [])
        ]

    @property
    def warnings(self) -> int:
        """Kinds of trouble that stop nothing."""
        repeats = int(self.repeats.get("count", 0)) + int(self.repeats.get("near", {}).get("count", 0))
        return repeats + len(self.report.get("kept_as_metadata", [])) + len(self.personal)

    @cached_property
    def fields(self) -> list[dict[str, Any]]:
        """Each field of the file, what it becomes, how often it is filled and what it first says."""
        mapping = self.report.get("source", {}).get("mapping", {})
        read = max(self.report.get("read", 0), 1)
        found = []
        for name, column in self.report.get("columns", {}).items():
            becomes = mapping.get(name) or LETTERED.get(name) or (name if name in TARGETS else TAG)
            found.append(
                {
                    "name": name,
                    "options": [(value, label, value == becomes) for value, label in self._targets(becomes)],
                    "filled": min(1.0, column["filled"] / read),
                    "example": column["example"],
                    "personal": column.get("personal", False),
                }
            )
        return found

    def _targets(self, chosen: str) -> Iterator[tuple[str, str]]:
        most = SIDES[Kind(self.project.kind)]
        for value in TARGETS:
            numbered = NUMBERED.fullmatch(value)
            if value == chosen or not numbered or int(numbered[2]) <= most:
                yield value, in_words(value)

    @property
    def to_collect(self) -> int:
        return max(
            0, int(self.report.get("created", 0)) * self.project.overlap - int(self.report.get("annotations", 0))
        )

    @cached_property
    def hours(self) -> float | None:
        """How long judging takes if it goes on as so far; None where nobody has judged yet."""
        each = cost.usual_seconds(self.project)
        return self.to_collect * each / 3600 if each else None

    @property
    def samples(self) -> int:
        return len(self.report.get("samples", []))

    @property
    def before(self) -> int:
        return self.row - 1 if self.row > 1 else 0

    @property
    def after(self) -> int:
        return self.row + 1 if self.row < self.samples else 0

    @cached_property
    def sample(self) -> dict[str, Any] | None:
        """The row that is shown, rendered as an annotator will read it."""
        listed = self.report.get("samples", [])
        if not listed:
            return None
        self.row = max(1, min(self.row, len(listed)))
        shown = listed[self.row - 1]
        sides = [
            {"letter": chr(65 + i), "name": "ab"[i] if i < 2 else "n", "html": rendering.render_markdown(text)}
            for i, text in enumerate(shown["responses"])
        ]
        turns = [
            {
                "role": gettext(ROLES.get(turn["role"], turn["role"])),
                "html": rendering.render_markdown(turn["content"]),
            }
            for turn in shown["prompt"]
        ]
        return {"line": shown["line"], "turns": turns, "sides": sides}

    @property
    def aspects(self) -> list[dict[str, Any]]:
        """What a rating asks of each response."""
        return list(questions_of(self.project)["aspects"])

    @property
    def beam(self) -> dict[int, str]:
        return SHORT if self.project.kind == Kind.PREFERENCE else {}


def remembered(project: Project) -> list[dict[str, Any]]:
    """The mappings said here, the latest first, each with what its fields become in words."""
    rows = project.mappings.select_related("said_by")[:REMEMBERED_SHOWN]
    return [
        {"mapping": row, "becomes": [(name, _label(row.becomes.get(name, ""), name)) for name in row.columns]}
        for row in rows
    ]


def _label(target: str, name: str) -> str:
    for known in (target, LETTERED.get(name, name)):
        if known in TARGETS:
            return in_words(known)
    return target or in_words(TAG)


def version_of(job: ImportJob) -> str:
    """An ETag of what the page shows of a job."""
    facts = json.dumps([job.state, job.options, job.report], sort_keys=True, default=str)
    return '"' + hashlib.sha256(facts.encode()).hexdigest()[:20] + '"'


def problem_table(job: ImportJob) -> Iterator[str]:
    """The bad records as CSV that no spreadsheet takes for formulas."""
    for row in ({"line": "line", "field": "field", "reason": "reason"}, *job.report.get("bad", [])):
        out = io.StringIO()
        csv.writer(out).writerow([row["line"], cell_out(str(row["field"])), cell_out(str(row["reason"]))])
        yield out.getvalue()
