"""manage.py import_tasks: a file of prompts, responses and judgements into a project."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.checks import Tags
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from annotation import importing
from annotation.cleaning import CleaningError
from annotation.importing import ImportInterrupted, ImportReport
from annotation.models import Kind, Project, Purpose
from annotation.personal import KINDS
from annotation.reading import UnreadableFile

EXAMPLES = """examples:
  manage.py import_tasks support prompts.jsonl
  manage.py import_tasks support prompts.csv --dry-run
  manage.py import_tasks harmless train.jsonl.gz --create preference --skip-bad --metadata split=train
  manage.py import_tasks support export.csv --map prompt=question --map response_a=answer1 --map response_b=answer2
  manage.py import_tasks mt-bench human_votes_turn2.jsonl.gz --format mt-bench --create preference
"""
PROBLEMS_TOLD = 50


class Command(BaseCommand):
    help = "Bring prompts, responses and existing judgements into a project: all of the file, or nothing."
    # All checks load every page, twice as long as a thousand records take.
    requires_system_checks = [Tags.database]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument(
            "file", help="JSONL, JSON, CSV, TSV or Parquet (also .gz, .zip), a datasets folder, or hf:OWNER/NAME"
        )
        parser.add_argument("--format", choices=importing.FORMATS, help="when name and content do not tell it")
        parser.add_argument("--create", choices=Kind.values, metavar="KIND", help="make the project if there is none")
        parser.add_argument("--update", action="store_true", help="change records whose id is known")
        parser.add_argument("--skip-bad", action="store_true", help="import the good records of a file with bad ones")
        parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
        parser.add_argument(
            "--annotator", default="imported", help='whose judgement a chosen answer is; "" for nobody\'s'
        )
        parser.add_argument(
            "--metadata", action="append", default=[], metavar="KEY=VALUE", help="added to every record"
        )
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="TARGET=FIELD",
            help="which field of the file holds the prompt, response_a, source_a, id, …; tag and leave_out may repeat",
        )
        parser.add_argument("--guess", action="store_true", help="forget what was said of such a file's fields before")
        parser.add_argument("--purpose", choices=Purpose.values, default=Purpose.LABEL)

    def handle(self, *, project: str, file: str | Path, create: str | None, **options: Any) -> None:
        metadata = _pairs(options["metadata"], "metadata")
        mapping = {name: target for target, name in _split(options["map"], "map")} or None
        target, made = _project(project, create, dry_run=options["dry_run"])
        started, applied = time.monotonic(), False
        try:
            names = ("format", "update", "skip_bad", "dry_run", "annotator", "purpose", "guess")
            report = importing.import_records(
                target,
                file,
                metadata=metadata,
                mapping=mapping,
                progress=lambda report: self._tell(report, started),
                **{name: options[name] for name in names},
            )
            applied = report.applied
        except (UnreadableFile, ImportInterrupted, CleaningError) as error:
            raise CommandError(str(error)) from None
        finally:
            if made and not applied:
                target.delete()
        self._sum_up(report, skip_bad=options["skip_bad"])

    def _sum_up(self, report: ImportReport, *, skip_bad: bool) -> None:
        self.stderr.write("")
        for problem in report.bad[:PROBLEMS_TOLD]:
            self.stderr.write(str(problem))
        if report.bad_count > PROBLEMS_TOLD:
            self.stderr.write(f"… and {report.bad_count - PROBLEMS_TOLD:,} more")
        same = report.same_prompts
        for found, words in ((same, "repeat"), (same.get("near", {}), "nearly repeat")):
            if found.get("count"):
                first = ", ".join(f"{line} (as {other or 'in the project'})" for line, other in found["first"][:5])
                self.stderr.write(f"{found['count']:,} records {words} an earlier prompt: line {first}")
        for one in report.personal:
            lines = ", ".join(map(str, one["lines"]))
            told = f"{one['field']} looks like {KINDS[one['kind']]} in {one['count']:,} records: line {lines}"
            self.stderr.write(told)
        if report.kept_as_metadata:
            self.stderr.write("Kept as metadata: " + ", ".join(report.kept_as_metadata))
        summary = {name: value for name, value in report.as_dict().items() if name not in ("bad", "columns", "samples")}
        self.stdout.write(json.dumps(summary))
        if report.bad_count and not skip_bad:
            many = "one record is" if report.bad_count == 1 else f"{report.bad_count:,} records are"
            raise CommandError(f"Nothing was imported: {many} bad. Mend the file, or use --skip-bad.")

    def _tell(self, report: ImportReport, started: float) -> None:
        rate = report.read / max(time.monotonic() - started, 1e-6)
        self.stderr.write(f"\r{report.read:,} records, {rate:,.0f} a second", ending="")
        self.stderr.flush()


def _project(slug: str, create: str | None, *, dry_run: bool) -> tuple[Project, bool]:
    """The project, and whether it was made now."""
    found = Project.objects.filter(slug=slug, is_staging=False).first()
    if found is None:
        if create is None:
            raise CommandError(f"There is no project {slug}; add --create KIND to make it.")
        name = slug.replace("-", " ").capitalize()
        if dry_run:
            raise CommandError(f"There is no project {slug}; a dry run does not make it.")
        made = Project(slug=slug, name=name, kind=create)
        try:
            made.clean_fields(exclude=["created_by"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        made.save()
        return made, True
    if create not in (None, found.kind):
        raise CommandError(f"The project {slug} is there already, and it is of kind {found.kind}.")
    return found, False


def _pairs(given: list[str], option: str) -> dict[str, str]:
    return dict(_split(given, option))


def _split(given: list[str], option: str) -> list[tuple[str, str]]:
    pairs = [pair.partition("=") for pair in given]
    for pair, (key, equals, value) in zip(given, pairs, strict=True):
        if not key or not equals or (option == "map" and not value):
            raise CommandError(f"--{option} takes {'TARGET=FIELD' if option == 'map' else 'KEY=VALUE'}, not {pair!r}.")
    return [(key, value) for key, _, value in pairs]
