"""`manage.py register_model`: weights from a folder or from the hub, into the registry."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rlhf import registry
from rlhf.arguments import find_model, find_project, refuse, with_example
from rlhf.models import Model


class Command(BaseCommand):
    help = "Copies a model's safetensors, configuration and tokenizer into the registry, from a folder or from the hub."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(
            parser,
            "register_model stories ../shared/models/stories260k --template plain",
            "register_model qwen Qwen/Qwen2.5-0.5B-Instruct",
        )
        parser.add_argument("name")
        parser.add_argument("source", metavar="FOLDER|HUB-ID")
        parser.add_argument("--project", help="the project it belongs to; without one, every project may use it")
        parser.add_argument(
            "--template", default="", help="for a tokenizer without a chat template: plain, chatml or a file"
        )
        parser.add_argument("--role", choices=Model.Role.values, default=Model.Role.POLICY)
        parser.add_argument("--parent", help="for an adapter: the registered model it belongs to")

    def handle(self, *, name: str, source: str, template: str, role: str, **options: Any) -> None:
        project = find_project(options["project"]) if options["project"] else None
        parent = find_model(options["parent"]) if options["parent"] else None
        try:
            if Path(source).expanduser().is_dir() or source.startswith((".", "/", "~")):
                model = registry.register_folder(
                    name, source, project=project, role=role, template=template, parent=parent
                )
            else:
                self.stdout.write(f"Downloading {source} …")
                model = registry.register_hub(name, source, project=project, template=template)
        except registry.RegistryError as error:
            raise refuse(error) from error
        kind = "adapter" if model.is_adapter else "full weights"
        self.stdout.write(
            f"{model.name}: {kind}, {model.size / 1e6:.1f} MB, sha256 {model.sha256[:12]}, in {model.path}"
        )
