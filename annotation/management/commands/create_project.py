"""Make an empty project, to be filled by an import or by a round."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.models import Kind, Project


class Command(BaseCommand):
    help = 'Make an empty project. Example: manage.py create_project stories --kind preference --name "Stories"'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="its short name in addresses: letters, digits, hyphens")
        parser.add_argument("--kind", choices=Kind.values, default=Kind.PREFERENCE)
        parser.add_argument("--name", help="as people read it; by default the short name")
        parser.add_argument("--overlap", type=int, default=1, help="judgements per task, 1 to 10")

    def handle(self, *args: Any, **options: Any) -> None:
        fields = {"slug": options["slug"], "kind": options["kind"], "overlap": options["overlap"]}
        project = Project(name=options["name"] or options["slug"], **fields)
        try:
            project.full_clean(exclude=["created_by"])
        except ValidationError as error:
            field, messages = next(iter(error.message_dict.items()))
            raise CommandError(f"{field}: {messages[0]}") from None
        project.save()
        self.stdout.write(f"{project.name}: an empty {project.kind} project, {project.get_absolute_url()}")
