"""`manage.py generate`: a model answers prompts, and the answers become tasks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rlhf import following
from rlhf.arguments import add_settings, find_model, find_project, find_snapshot, prompts_from, with_example
from rlhf.prompts import from_project


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

    def handle(self, *, project: str, model: str, **options: Any) -> None:
        where = find_project(project)
        snapshot = find_snapshot(options["snapshot"]) if options["snapshot"] else None
        prompts = prompts_from(options["prompts"], snapshot) or from_project(where)
        kept = {"samples": options["best_of"]} if options["best_of"] else {}
        run = following.carry_out(
            self.stdout,
            where,
            "best_of_n" if kept else "generate",
            options,
            params=kept,
            reward_model=find_model(options["reward"]) if options["reward"] else None,
            start_model=find_model(model),
            prompts=prompts[: options["limit"]],
        )
        if run is None:
            return
        made = run.outcome["tasks"]
        left_out = ", ".join(f"{count} {reason}" for reason, count in made["left_out"].items())
        self.stdout.write(f"{made['made']} tasks in {where.slug}" + (f"; left out: {left_out}" if left_out else ""))
