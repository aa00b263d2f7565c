"""`manage.py generate`: a model answers prompts, and the answers become tasks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import following, runs
from rlhf.arguments import add_settings, find_model, find_project, find_snapshot, prompts_from, refuse, with_example
from rlhf.prompts import from_project
from training.runfile import RunFileError


class Command(BaseCommand):
    help = "Lets a model answer prompts; when the run succeeds, its answers are tasks of the project."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(
            parser,
            "generate helpfulness --model sft-1 --prompts prompts.jsonl",
            "generate helpfulness --model sft-1 --snapshot prefs --limit 100 --set params.temperature=0.8",
            "generate helpfulness --model sft-1 --best-of 16 --reward reward-1 --set params.keep=best_and_worst",
        )
        parser.add_argument("project")
        parser.add_argument("--model", required=True)
        parser.add_argument("--prompts", metavar="FILE", help="JSONL; by default the project's own prompts")
        parser.add_argument("--snapshot", metavar="NAME[@VERSION]", help="take its prompts")
        parser.add_argument("--limit", type=int, help="only the first so many prompts")
        parser.add_argument("--best-of", type=int, metavar="N", help="write N answers to each prompt, keep the best")
        parser.add_argument("--reward", metavar="MODEL", help="the reward model that scores them")
        add_settings(parser)

    def handle(self, *, project: str, model: str, wait: bool, **options: Any) -> None:
        where = find_project(project)
        snapshot = find_snapshot(options["snapshot"]) if options["snapshot"] else None
        prompts = prompts_from(options["prompts"], snapshot) or from_project(where)
        try:
            kept = {"samples": options["best_of"]} if options["best_of"] else {}
            run = runs.create(
                where,
                "best_of_n" if kept else "generate",
                params=kept,
                reward_model=find_model(options["reward"]) if options["reward"] else None,
                name=options["name"],
                start_model=find_model(model),
                prompts=prompts[: options["limit"]],
                seed=options["seed"],
                overrides=options["changes"],
            )
        except RunFileError as error:
            raise refuse(error) from error
        self.stdout.write(f"Queued {run.name} ({run.folder})")
        if not wait:
            return
        try:
            run = following.follow_run(run, self.stdout)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            raise CommandError(f"No longer watching; {run.name} goes on by itself.") from None
        following.require_success(run)
        made = run.outcome["tasks"]
        left_out = ", ".join(f"{count} {reason}" for reason, count in made["left_out"].items())
        self.stdout.write(f"{made['made']} tasks in {where.slug}" + (f"; left out: {left_out}" if left_out else ""))
