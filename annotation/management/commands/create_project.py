"""Make an empty project, to be filled by an import or by a round."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation import projects
from annotation.models import Kind, Project
from annotation.templates import TEMPLATES


class Command(BaseCommand):
    help = (
        "Make an empty project. Examples: manage.py create_project stories --kind preference --name Stories; "
        "manage.py create_project news --template summaries"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="its short name in addresses: letters, digits, hyphens")
        parser.add_argument("--kind", choices=Kind.values, help="preference when neither kind nor template is given")
        names = "; ".join(f"{one.name}: {one.label}" for one in TEMPLATES.values())
        parser.add_argument(
            "--template", choices=list(TEMPLATES), help=f"questions and guidelines to begin with. {names}"
        )
        parser.add_argument("--name", help="as people read it; by default the short name")
        parser.add_argument("--overlap", type=int, help="judgements per task, 1 to 10; 1, or as the template says")

    def handle(self, *args: Any, **options: Any) -> None:
        slug, template = options["slug"], options["template"] or ""
        kind = options["kind"] or ("" if template else Kind.PREFERENCE)
        fields = {} if options["overlap"] is None else {"overlap": options["overlap"]}
        name = options["name"] or slug
        try:
            Project(slug=slug, name=name, kind=kind or Kind.PREFERENCE, **fields).full_clean(exclude=["created_by"])
            project = projects.create(by=None, name=name, slug=slug, kind=kind, template=template, **fields)
        except ValidationError as error:
            field, messages = next(iter(error.message_dict.items()))
            raise CommandError(f"{field}: {messages[0]}") from None
        except projects.ProjectError as error:
            field, message = next(iter(error.errors.items()))
            raise CommandError(f"{field}: {message}") from None
        self.stdout.write(f"{project.name}: an empty {project.kind} project, {project.get_absolute_url()}")
