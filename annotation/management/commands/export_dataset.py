"""manage.py export_dataset: a project's judgements into a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation import exporting
from annotation.exporting import ExportError
from annotation.models import Project, Purpose

EXAMPLES = """examples:
  manage.py export_dataset support --type preference --format parquet --out pairs.parquet
  manage.py export_dataset support --type raw --format csv --out raw.csv --names
  manage.py export_dataset support --type preference --where split=test --min-agreement 0.7
"""


class Command(BaseCommand):
    help = "Write a project's judgements in the form that trainers read (or raw). Without --out, to standard output."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project", help="the project's slug")
        parser.add_argument("--type", choices=exporting.TYPES, default="raw")
        parser.add_argument("--format", choices=exporting.FORMATS, default="jsonl")
        parser.add_argument("--out", type=Path, help="the file to write")
        parser.add_argument("--aggregation", choices=exporting.AGGREGATIONS, default="majority")
        parser.add_argument("--min-agreement", type=float, default=0.0, help="share of votes the outcome needs, 0 to 1")
        parser.add_argument("--threshold", type=float, help="binary rows of ratings: the mean from which one is good")
        parser.add_argument("--flags", choices=exporting.FLAG_RULES, default="drop", help="tasks that somebody flagged")
        parser.add_argument("--exclude", action="append", default=[], metavar="NAME", help="leave out an annotator")
        parser.add_argument(
            "--where", action="append", default=[], metavar="KEY=VALUE", help="metadata a task must have"
        )
        parser.add_argument("--purpose", choices=[*Purpose.values, "all"], default=Purpose.LABEL)
        parser.add_argument("--names", action="store_true", help="raw: real names instead of pseudonyms")
        parser.add_argument("--history", action="store_true", help="raw: every revision, not only those that stand")
        parser.add_argument("--extras", action="store_true", help="add external_id and metadata to each row")

    def handle(self, *, project: str, type: str, format: str, out: Path | None, **options: Any) -> None:
        source = Project.objects.filter(slug=project, is_staging=False).first()
        if source is None:
            raise CommandError(f"There is no project {project}.")
        try:
            pieces = exporting.stream(source, type, format, **_selection(options))
            if out is None:
                for piece in pieces:
                    sys.stdout.buffer.write(piece)
                return
            size = exporting.writing.to_file(self._told(pieces), out)
        except ExportError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror}.") from None
        self.stderr.write(f"\r{out}: {size:,} bytes")

    def _told(self, pieces: Any) -> Any:
        written = 0
        for piece in pieces:
            written += len(piece)
            self.stderr.write(f"\r{written:,} bytes", ending="")
            yield piece


def _selection(options: dict[str, Any]) -> dict[str, Any]:
    where = [pair.partition("=") for pair in options["where"]]
    if bad := [key for key, equals, _ in where if not key or not equals]:
        raise CommandError(f"--where takes KEY=VALUE, not {bad[0]!r}.")
    return {
        "purpose": None if options["purpose"] == "all" else options["purpose"],
        "exclude_annotators": tuple(options["exclude"]),
        "metadata": {key: value for key, _, value in where},
        **{name: options[name] for name in ("aggregation", "min_agreement", "threshold", "flags")},
        **{name: options[name] for name in ("names", "history", "extras")},
    }
