"""Let simulated people judge a project's open pairs by a stated rule."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.models import Project
from rlhf.demo import people
from rlhf.demo.rules import RULES, RuleRater


class Command(BaseCommand):
    help = (
        "Judge the open pairs of PROJECT by a stated rule, as a rater marked as simulated. "
        "Example: manage.py simulate stories --rule happy"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's short name, as in its address")
        rules = "; ".join(f"{name}: {rule.__doc__}" for name, rule in RULES.items())
        parser.add_argument("--rule", required=True, choices=sorted(RULES), help=rules)
        parser.add_argument("--limit", type=int, help="stop after so many judgements")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        workers = people.join(project, [RuleRater(options["rule"])])
        count = 0
        try:
            for count in people.judge_pairs(project, workers):
                if count == options["limit"]:
                    break
        except people.WrongKind as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{count:,} judgements by simulated-{options['rule']} in {project.slug}")
