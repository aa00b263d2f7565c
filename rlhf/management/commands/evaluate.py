"""`manage.py evaluate`: policies answer held-out prompts; reward, KL and length of each."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import following
from rlhf.arguments import add_settings, find_model, find_project, find_snapshot, prompts_from, with_example
from rlhf.figures_text import policy_table


class Command(BaseCommand):
    help = "Lets policies answer the same held-out prompts and measures them; the first one is the KL reference."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(parser, "evaluate helpfulness --policies sft-1 dpo-1 ppo-1 --reward reward-1 --snapshot prefs")
        parser.add_argument("project")
        parser.add_argument("--policies", nargs="+", required=True, metavar="MODEL")
        parser.add_argument("--reward", metavar="MODEL")
        parser.add_argument("--prompts", metavar="FILE")
        parser.add_argument("--snapshot", metavar="NAME[@VERSION]", help="answer the prompts of its eval split")
        add_settings(parser)

    def handle(self, *, project: str, **options: Any) -> None:
        policies = [find_model(name) for name in options["policies"]]
        snapshot = find_snapshot(options["snapshot"]) if options["snapshot"] else None
        prompts = prompts_from(options["prompts"], snapshot, "eval")
        if not prompts:
            raise CommandError("No prompts: name a file with --prompts or a snapshot with an eval split.")
        run = following.carry_out(
            self.stdout,
            find_project(project),
            "evaluate",
            options,
            policies=policies,
            references={policy.name: policies[0].name for policy in policies[1:]},
            reward_model=find_model(options["reward"]) if options["reward"] else None,
            prompts=prompts,
        )
        for line in policy_table(run, run.outcome["eval"]["policies"]) if run else ():
            self.stdout.write(line)
