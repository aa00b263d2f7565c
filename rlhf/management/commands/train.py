"""`manage.py train`: queue one training run and watch it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import following
from rlhf.arguments import add_settings, find_model, find_project, find_snapshot, prompts_from, with_example
from rlhf.figures_text import summary
from training import runfile

KINDS = runfile.compatibility.TRAINERS


class Command(BaseCommand):
    help = "Trains a model. The run is queued; without --no-wait its progress is shown until it ends."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(
            parser,
            "train reward --snapshot prefs --base desk-base",
            "train kto --snapshot judged --base sft-1 --set adapter.method=dora",
            "train grpo --prompts prompts.jsonl --project help --base sft-1 --set params.rule=words:20-60",
            "train ppo --snapshot prefs@2 --base sft-1 --reward reward-1 --set params.beta=0.1 lora.r=8",
        )
        parser.add_argument("kind", choices=KINDS)
        parser.add_argument("--base", required=True, metavar="MODEL", help="the registered model to start from")
        parser.add_argument("--snapshot", metavar="NAME[@VERSION]", help="the data; for ppo, grpo and rloo its prompts")
        parser.add_argument("--reward", metavar="MODEL", help="the reward model (ppo, grpo, rloo)")
        parser.add_argument("--prompts", metavar="FILE", help="a JSONL file of prompts in place of a snapshot (ppo, …)")
        parser.add_argument("--project", help="where the run belongs; by default where the snapshot does")
        parser.add_argument("--full", action="store_true", help="train all weights, not an adapter (not for rollouts)")
        add_settings(parser)

    def handle(self, *, kind: str, base: str, **options: Any) -> None:
        project = find_project(options["project"]) if options["project"] else None
        snapshot = find_snapshot(options["snapshot"], project) if options["snapshot"] else None
        if project is None:
            if snapshot is None:
                raise CommandError("Say where the run belongs: --snapshot or --project.")
            project = snapshot.project
        run = following.carry_out(
            self.stdout,
            project,
            kind,
            options,
            start_model=find_model(base),
            snapshot=snapshot,
            reward_model=find_model(options["reward"]) if options["reward"] else None,
            prompts=prompts_from(options["prompts"], None),
            adapter=None if options["full"] else "default",
        )
        if run is None:
            return
        self.stdout.write(f"Model {run.model.name} in {run.model.path}")
        for line in summary(run):
            self.stdout.write(line)
