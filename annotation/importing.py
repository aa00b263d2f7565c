"""Records from files and programs into a project: checked, staged out of sight, published at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from django.utils import timezone

from annotation import ahead, incoming, mapping_memory, revising, staging
from annotation.batches import Batch, batches
from annotation.cleaning import CleaningError, clean_json, storable
from annotation.duplicates import SamePrompts
from annotation.incoming import FORMATS, Incoming
from annotation.mapping import Mapping
from annotation.models import ImportJob, Project, Purpose, Task, User
from annotation.raters import Raters
from annotation.reading import hub
from annotation.reading.pieces import Raw
from annotation.records import Checker, Record
from annotation.revising import Change
from annotation.seen import Seen
from annotation.shapes import Target
from annotation.staging import ImportInterrupted, Staging

__all__ = ["FORMATS", "ImportInterrupted", "ImportReport", "Problem", "import_records"]

BATCH = 2000  # records checked, looked up and staged together
BEAT = 0.5  # seconds between two signs of life; publishing asks once more whether anybody waits for it
# The project's latest items, whose prompts are compared with those of the file: in a check as many as a person waits
# for, in an import no more than take a few hundredths of its time.
COMPARED_BEFORE, COMPARED_LEAST, COMPARED_SHARE = 20_000, 1000, 4
SAMPLES, SAMPLE_TEXT = 10, 4000  # records and characters of each text
MOST_PROBLEMS = 10_000  # told one by one; more are counted

Progress = Callable[["ImportReport"], None]


@dataclass(frozen=True)
class Problem:
    """One bad record: its line (or row), the field, and one sentence."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.reason}" if self.field else f"line {self.line}: {self.reason}"


@dataclass
class ImportReport:
    """What an import did, or would do: `applied` is False after a dry run and when bad records stopped it."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0  # known ids; without `update` their records were not even compared
    repeated: int = 0  # records without an id that had come earlier in the same file
    annotations: int = 0
    bad_count: int = 0
    bad: list[Problem] = field(default_factory=list)
    kept_as_metadata: list[str] = field(default_factory=list)
    applied: bool = False
    source: dict[str, Any] = field(default_factory=dict)  # container, shape and mapping that were found or given
    same_prompts: dict[str, Any] = field(default_factory=dict)  # how many repeat an earlier prompt, and the first lines
    samples: list[dict[str, Any]] = field(default_factory=list)  # a dry run's: the first good records, to be shown
    personal: list[dict[str, Any]] = field(default_factory=list)  # a dry run's: what looks personal, counted by field
    columns: dict[str, Any] = field(default_factory=dict)  # a dry run's: how often each field is filled, and an example

    def refuse(self, line: int, error: CleaningError) -> None:
        self.bad_count += 1
        if len(self.bad) < MOST_PROBLEMS:
            self.bad.append(Problem(line, error.field, error.message))

    def as_dict(self) -> dict[str, Any]:
        return dict(storable(asdict(self)))


def import_records(
    project: Project,
    source: Path | str | Iterable[Any],
    *,
    format: str | None = None,
    update: bool = False,
    skip_bad: bool = False,
    dry_run: bool = False,
    by: User | None = None,
    annotator: str = "imported",
    metadata: dict[str, Any] | None = None,
    purpose: str = Purpose.LABEL,
    mapping: dict[str, str] | None = None,
    guess: bool = False,
    careful: bool = False,
    progress: Progress | None = None,
    job: ImportJob | None = None,
) -> ImportReport:
    """Bring a file, a saved dataset, a hub dataset (hf:OWNER/NAME) or an iterable of records into `project`.

    Gives the report of what happened.

    All or nothing: one bad record stops everything unless `skip_bad`. An id that the project knows is left alone unless
    `update`. A file that cannot be read to its end raises reading.UnreadableFile and changes nothing. `annotator` is
    whose judgement a chosen/rejected pair or a completed demonstration is ("" for nobody's); `metadata` is added to
    every record; `mapping` says what fields become (annotation.mapping) and is remembered for the next file with these
    fields; when None it is what is remembered, or guessed, with `guess` always guessed, and `careful` leaves out
    columns that are nothing but addresses; `by` may bring in judgements of the project's own people only, unless it is
    None or a site admin.
    """
    checker = Checker(project, annotator, clean_json(metadata or {}, "metadata"))
    raters = Raters(project, by)
    rows = incoming.opened(
        source,
        Target.of(project, annotator),
        format=format,
        given=mapping,
        recall=None if guess else partial(mapping_memory.recall, project),
        counted=dry_run,
        careful=careful,
    )
    if dry_run:
        beat = partial(staging.beat, job) if job else None
        run = _Import(project, checker, raters, update, skip_bad, progress, None, purpose, beat)
        run.read(rows)
        return run.finished()
    job = job or ImportJob.objects.create(project=project, created_by=by, file_name=_name(source))
    ImportJob.objects.filter(pk=job.pk).update(state=ImportJob.State.RUNNING, heartbeat=timezone.now())
    place = Staging(job, raters)
    run = _Import(project, checker, raters, update, skip_bad, progress, place, purpose, partial(staging.beat, job))
    run.reads_ahead = ahead.pays(source, rows.container)
    report = _published(run, rows, place)
    if report.applied and mapping is not None:
        mapping_memory.keep(project, rows.names, rows.mapping.becomes, by)
    return report


def _published(run: _Import, rows: Incoming, place: Staging) -> ImportReport:
    """Read, stage and publish; whatever stops it is told in the job, and nothing of it stays."""
    report = run.report
    published = False
    try:
        run.read(rows)
        report.applied = report.bad_count == 0 or run.skip_bad
        with ThreadPoolExecutor(1) as beside:
            finished = beside.submit(run.finished)
            if not report.applied or report.created < report.read / 2:  # it may take longer than to publish so few
                finished.result()
            if report.applied:
                place.publish(report.created, lambda: finished.result().as_dict())
                published = True
    except BaseException as error:  # a stopped process too should say so
        _fail(place.job, {"error": storable(str(error)) or "The import was stopped."})
        raise
    finally:
        place.close()
        if not published:
            place.discard()
    if not published:
        _fail(place.job, report.as_dict())
    return report


@dataclass
class _Import:
    """One pass over the records."""

    project: Project
    checker: Checker
    raters: Raters
    update: bool
    skip_bad: bool
    progress: Progress | None
    place: Staging | None  # None in a dry run
    purpose: str
    # Tells how far it is, and raises ImportInterrupted when nobody waits for it.
    beat: Callable[[int, float], None] | None
    same: SamePrompts = field(default_factory=SamePrompts)
    report: ImportReport = field(default_factory=ImportReport)
    mapping: Mapping = field(default_factory=Mapping)
    reads_ahead: bool = False  # whether a process of its own reads the file
    began_empty: bool | None = None
    started: float = field(default_factory=time.monotonic)
    told: float = 0.0  # when it last said that it lives
    seen: Seen = field(default_factory=Seen)

    def read(self, source: Incoming) -> None:
        """Check all records and stage what is new; `finished` has the whole report."""
        self.report.source, self.mapping = source.as_dict(), source.mapping
        # By columns only what is stored, in a project where no id can be known.
        short = self.checker.short if self.place and self._is_empty() else None
        found = batches(source.pieces(BATCH), short)
        with closing(ahead.ahead(found, staging.written()) if self.reads_ahead else found) as given:
            for batch in given:
                self.report.read += len(batch.lines)
                if not self._taken_at_once(batch):
                    self._take(list(self._checked(batch.rows())))
                self.report.kept_as_metadata = sorted(self.checker.kept_as_metadata)
                if self.beat and (now := time.monotonic()) >= self.told + BEAT:
                    self.beat(self.report.read, now - self.started)
                    self.told = now
                if self.progress:
                    self.progress(self.report)
        self.same.know(self._prompts_there())
        self.seen = Seen()  # what comes now needs the memory
        self.report.columns = {name: asdict(column) for name, column in source.described().items()}
        self.report.personal = [asdict(found) for found in source.personal.in_order()]

    def finished(self) -> ImportReport:
        """The report with what it says of prompts that are the same. Asks no database: a thread may do it."""
        self.report.same_prompts = self.same.found()
        self.same = SamePrompts()
        return self.report

    def _taken_at_once(self, batch: Batch) -> bool:
        """Stage a batch by columns where all of it is plain and each id is new; else do nothing."""
        if (
            self.place is None
            or batch.plain is None
            or batch.sketches is None
            or not self.seen.add_all(batch.plain.ids)
        ):
            return False
        self.same.take(batch.lines, batch.sketches)
        if self.report.bad_count == 0 or self.skip_bad:
            self.place.add_plain(batch.plain, purpose=self.purpose)
        self.report.created += len(batch.lines)
        return True

    def _checked(self, batch: Iterable[Raw]) -> Iterator[tuple[int, Record]]:
        for line, raw in batch:
            try:
                if isinstance(raw, CleaningError):
                    raise raw
                record = self.checker.check(raw)
                for index, judgement in enumerate(record.judgements):
                    self.raters.check(judgement.annotator, f"annotations[{index}]")
                if self._is_first(record):
                    yield line, record
            except CleaningError as error:
                self.report.refuse(line, CleaningError(self.mapping.in_file(error.field), error.message))

    def _is_first(self, record: Record) -> bool:
        if self.seen.add(record.fields["id"]):
            return True
        if record.has_own_id:
            raise CleaningError("id", f"{record.fields['id']} is the id of an earlier record in this import.")
        self.report.repeated += 1
        return False

    def _take(self, checked: list[tuple[int, Record]]) -> None:
        """New records are staged; known ones are left alone or compared."""
        self.same.add([(line, record.fields["prompt"]) for line, record in checked])
        for line, record in checked:
            if self.place is None and len(self.report.samples) < SAMPLES:
                self.report.samples.append(_sample(line, record))
        ids = [record.fields["id"] for _, record in checked]
        known = {task.external_id: task for task in self._known(ids)}
        new = [record for _, record in checked if record.fields["id"] not in known]
        if self.place and (self.report.bad_count == 0 or self.skip_bad) and new:
            self.place.add(new, purpose=self.purpose)
        self.report.created += len(new)
        self.report.annotations += sum(len(record.judgements) for record in new)
        found = [(line, record, known[record.fields["id"]]) for line, record in checked if record.fields["id"] in known]
        self.report.unchanged += len(found)
        if self.update and found:
            self._revise(found)

    def _known(self, ids: list[str]) -> Iterable[Task]:
        """Those of the ids that the project had when the import began; publishing refuses what came in since."""
        return () if self._is_empty() or not ids else self.project.tasks.filter(external_id__in=ids)

    def _is_empty(self) -> bool:
        """Whether the project had no tasks when the import began."""
        if self.began_empty is None:
            self.began_empty = not self.project.tasks.exists()
        return self.began_empty

    def _prompts_there(self) -> Iterator[list[dict[str, str]]]:
        """Prompts of the project's latest items, without those that the file brings again."""
        if self.began_empty is not False:
            return
        most = COMPARED_BEFORE if self.place is None else max(COMPARED_LEAST, self.report.read // COMPARED_SHARE)
        rows = self.project.tasks.order_by("-pk").values_list("external_id", "prompt")[:most]
        for identifier, prompt in rows.iterator(chunk_size=BATCH):
            if identifier is None or identifier not in self.seen:
                yield prompt

    def _revise(self, found: list[Any]) -> None:
        for line, change in revising.changes(found):
            self.report.unchanged -= 1
            if isinstance(change, Change):
                self.report.updated += 1
                self.report.annotations += len(change.judgements)
                if self.place:
                    self.place.changes.add(change)
            else:
                self.report.refuse(line, change)


def _sample(line: int, record: Record) -> dict[str, Any]:
    """The start of a record's texts, as the page shows them."""
    said = [judgement.body["text"] for judgement in record.judgements if "text" in judgement.body]
    texts = [response["text"] for response in record.fields["responses"]] or said
    prompt = [message | {"content": message["content"][:SAMPLE_TEXT]} for message in record.fields["prompt"][-20:]]
    return {"line": line, "prompt": prompt, "responses": [text[:SAMPLE_TEXT] for text in texts]}


def _name(source: Path | str | Iterable[Any]) -> str:
    if hub.is_name(source):
        return str(source)[:200]
    return Path(source).name[:200] if isinstance(source, str | Path) else ""


def _fail(job: ImportJob, report: dict[str, Any]) -> None:
    failed = {"state": ImportJob.State.FAILED, "report": report, "finished_at": timezone.now()}
    ImportJob.objects.filter(pk=job.pk, state=ImportJob.State.RUNNING).update(**failed)
