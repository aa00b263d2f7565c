"""`manage.py snapshot`: cut an immutable dataset from a project's judgements."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import snapshots
from rlhf.arguments import find_project, refuse, with_example
from rlhf.models import Snapshot


class Command(BaseCommand):
    help = "Cuts a snapshot. The same judgements and recipe always give the same files."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(
            parser,
            "snapshot helpfulness --type preference --name prefs",
            "snapshot hh --type preference --name hh --split-key split --eval-value test",
        )
        parser.add_argument("project")
        parser.add_argument("--type", choices=Snapshot.Type.values, required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--eval-share", type=float, help="share of the prompts kept for evaluation (0.1)")
        parser.add_argument("--seed", type=int, help="which prompts those are (0)")
        parser.add_argument("--split-key", help="split by this key of the tasks' metadata instead")
        parser.add_argument("--eval-value", default="eval", help="its value for the eval split (eval)")
        parser.add_argument("--recipe", default="{}", metavar="JSON", help="more of the recipe, as JSON (docs/loop.md)")
        parser.add_argument("--dry-run", action="store_true", help="count, and cut nothing")

    def handle(self, *, project: str, type: str, name: str, recipe: str, dry_run: bool, **options: Any) -> None:
        where = find_project(project)
        try:
            asked = json.loads(recipe)
        except ValueError as error:
            raise CommandError(f"--recipe is not JSON: {error}.") from error
        if split := _split(options):
            asked["split"] = split
        try:
            if dry_run:
                self._show(snapshots.preview(where, type, asked))
                return
            made = snapshots.cut(where, name=name, type=type, recipe=asked)
        except snapshots.SnapshotError as error:
            raise refuse(error) from error
        self._show(made.counts)
        self.stdout.write(f"{made} in {made.folder}, content hash {made.content_hash[:16]}")

    def _show(self, counts: dict[str, Any]) -> None:
        self.stdout.write(
            f"{counts['train']} train and {counts['eval']} eval rows "
            f"from {counts['annotations']} judgements by {counts['annotators']} annotators"
        )
        for reason, count in sorted(counts["left_out"].items()):
            self.stdout.write(f"  left out, {reason}: {count}")
        if counts.get("warning"):
            self.stderr.write(counts["warning"])


def _split(options: dict[str, Any]) -> dict[str, Any]:
    if options["split_key"]:
        return {"by": "metadata", "key": options["split_key"], "eval": options["eval_value"]}
    given = {key: options[key] for key in ("eval_share", "seed") if options[key] is not None}
    return {"by": "prompt", **given} if given else {}
