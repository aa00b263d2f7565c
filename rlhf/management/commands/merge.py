"""`manage.py merge`: fold an adapter into the weights it stands on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import following
from rlhf.arguments import add_settings, find_model, find_project, with_example


class Command(BaseCommand):
    help = "Makes a whole model of a registered adapter and its base; the result is registered under the run's name."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(parser, "merge sft-1 --name sft-1-merged")
        parser.add_argument("model")
        parser.add_argument("--project", help="where the run belongs; by default where the adapter does")
        add_settings(parser)

    def handle(self, *, model: str, **options: Any) -> None:
        adapter = find_model(model)
        if not adapter.is_adapter:
            raise CommandError(f"{model} is a whole model already: there is nothing to merge.")
        project = find_project(options["project"]) if options["project"] else adapter.project
        if project is None:
            raise CommandError(f"{model} belongs to no project: say where the run belongs with --project.")
        run = following.carry_out(self.stdout, project, "merge", options, start_model=adapter)
        if run:
            self.stdout.write(f"Model {run.model.name} in {run.model.path}")
