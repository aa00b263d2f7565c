"""What the loop's commands share: rows by the names that people type, with one clear line when there is none."""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser, DjangoHelpFormatter

from annotation.models import Project
from rlhf.models import Model, Snapshot
from rlhf.prompts import Prompt, PromptError, from_file, from_snapshot


class HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the examples as they are written."""


def with_example(parser: CommandParser, *examples: str) -> None:
    parser.formatter_class = HelpFormatter
    parser.epilog = "Examples:\n" + "\n".join(f"  manage.py {example}" for example in examples)


def find_project(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)[:10]) or "none yet"
        raise CommandError(f"There is no project {slug}; there are: {known}.")
    return project


def find_model(name: str) -> Model:
    model = Model.objects.filter(name=name).first()
    if model is None:
        raise CommandError(f"There is no model {name}. Register it first: manage.py register_model NAME {name}")
    return model


def find_snapshot(text: str, project: Project | None = None) -> Snapshot:
    """The snapshot called NAME (its latest version) or NAME@VERSION."""
    name, _, version = text.partition("@")
    rows = Snapshot.objects.filter(name=name).order_by("-version")
    if project:
        rows = rows.filter(project=project)
    if version:
        rows = rows.filter(version=int(version) if version.isdigit() else 0)
    found = rows.first()
    if found is None:
        raise CommandError(f"There is no snapshot {text}. Cut one: manage.py snapshot PROJECT --type T --name {name}")
    if rows.exclude(project=found.project_id).exists():
        raise CommandError(f"More than one project has a snapshot {name}: say which with --project.")
    return found


def prompts_from(path: str | None, snapshot: Snapshot | None, split: str | None = None) -> list[Prompt] | None:
    """The prompts of a file, else of a snapshot, else None."""
    try:
        if path:
            return from_file(path)
    except PromptError as error:
        raise CommandError(str(error)) from error
    return from_snapshot(snapshot, split) if snapshot else None


def refuse(error: Exception) -> CommandError:
    """The error as the one line a command ends with."""
    text = str(error)
    return CommandError(text if text.endswith((".", "?", "!")) else f"{text}.")


class AppendPairs(Action):
    """Collects `--set key.key=value`, given any number of times or with several values."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: str | Sequence[Any] | None, option: Any = None
    ) -> None:
        given = list(getattr(namespace, self.dest) or [])
        setattr(namespace, self.dest, [*given, *(values or [])])


def add_settings(parser: CommandParser) -> None:
    parser.add_argument(
        "--set", dest="changes", action=AppendPairs, nargs="+", default=[], metavar="KEY=VALUE",
        help="change one setting, for example params.beta=0.2 or lora.r=16; can be given many times",
    )  # fmt: skip
    parser.add_argument("--name", help="the run's name; by default kind-N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-wait", dest="wait", action="store_false", help="queue the run and return; the worker does the rest"
    )
