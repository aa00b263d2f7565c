"""manage.py export_dataset: a project's judgements into a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from annotation import exporting, splitting
from annotation.exporting import ExportError
from annotation.models import Project, Purpose

EXAMPLES = """examples:
  manage.py export_dataset support --type preference --format parquet --out pairs.parquet
  manage.py export_dataset support --type raw --format csv --out raw.csv --names
  manage.py export_dataset support --type preference --where split=test --min-agreement 0.7
  manage.py export_dataset support --type preference --format datasets --eval-share 0.1 --seed 1 --out pairs
"""

# Options that are called as the selection calls them.
SAME = ("aggregation", "ties", "min_agreement", "threshold", "gap", "aspect", "flags", "guideline", "since", "until")
MORE = ("rulings", "improved", "deduplicate", "names", "history", "extras")


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
        parser.add_argument("--out", type=Path, help="the file to write; with datasets, the folder")
        rules = parser.add_argument_group("which judgements count, and how several become one")
        rules.add_argument("--aggregation", choices=exporting.AGGREGATIONS, default="majority")
        rules.add_argument("--ties", choices=exporting.CHOICES["ties"], default="drop", help="half: both orders")
        rules.add_argument("--min-agreement", type=float, default=0.0, help="share of votes the outcome needs, 0 to 1")
        rules.add_argument("--threshold", type=float, help="binary rows of ratings: the mean from which one is good")
        rules.add_argument("--gap", type=float, help="pairs of ratings: the difference of means that makes one better")
        rules.add_argument("--aspect", help="the rating that threshold and gap are about; by default the mean of all")
        rules.add_argument("--flags", choices=exporting.CHOICES["flags"], default="drop", help="flagged tasks")
        excluding: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME"}
        rules.add_argument("--exclude-flag", **excluding, help="with --flags keep")
        rules.add_argument("--exclude-annotator", "--exclude", **excluding, help="leave out an annotator")
        rules.add_argument("--rulings", choices=exporting.CHOICES["rulings"], default="prefer", help="over the votes")
        rules.add_argument("--guideline", type=int, metavar="N", help="only judgements made under this version")
        rules.add_argument("--exclude-guideline", type=int, action="append", default=[], metavar="N")
        rules.add_argument("--since", type=_moment, metavar="TIME", help="only judgements made then or later")
        rules.add_argument("--until", type=_moment, metavar="TIME", help="only judgements made before")
        rules.add_argument(
            "--where", action="append", default=[], metavar="KEY=VALUE", help="metadata a task must have"
        )
        rules.add_argument("--purpose", choices=[*Purpose.values, "all"], default=Purpose.LABEL)
        rules.add_argument("--improved", choices=exporting.CHOICES["improved"], default="keep")
        rules.add_argument("--deduplicate", action="store_true", help="drop rows that came before")
        parts = parser.add_argument_group("train and held out; no prompt is in both")
        parts.add_argument("--part", choices=splitting.PARTS, help="write one side; a datasets folder holds both")
        parts.add_argument("--eval-share", type=float, help="share of the prompts held out")
        parts.add_argument("--seed", type=int, help="which prompts those are")
        parts.add_argument("--split-at", type=_moment, metavar="TIME", help="hold out what was judged from then on")
        parts.add_argument(
            "--no-near", dest="near", action="store_false", default=None, help="keep only the same prompts on one side"
        )
        rows = parser.add_argument_group("what a row holds")
        rows.add_argument("--names", action="store_true", help="raw: real names instead of pseudonyms")
        rows.add_argument("--history", action="store_true", help="raw: every revision, not only those that stand")
        rows.add_argument("--extras", action="store_true", help="add external_id and metadata; to raw rows, the task")

    def handle(self, *, project: str, type: str, format: str, out: Path | None, **options: Any) -> None:
        source = Project.objects.filter(slug=project, is_staging=False).first()
        if source is None:
            raise CommandError(f"There is no project {project}.")
        split = splitting.asked_for(options)
        chosen = {"split": split, "part": options["part"], **_selection(options)}
        try:
            if out is not None and format == "datasets":
                size = exporting.write(source, type, format, out, **chosen)
            elif out is not None:
                size = exporting.writing.to_file(self._told(exporting.stream(source, type, format, **chosen)), out)
            else:
                for piece in exporting.stream(source, type, format, **chosen):
                    sys.stdout.buffer.write(piece)
                return
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
        "exclude_annotators": tuple(options["exclude_annotator"]),
        "exclude_flags": tuple(options["exclude_flag"]),
        "exclude_guidelines": tuple(options["exclude_guideline"]),
        "metadata": {key: value for key, _, value in where},
        **{name: options[name] for name in SAME + MORE},
    }


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31T12:00.") from None
    return moment if moment.tzinfo else timezone.make_aware(moment)
