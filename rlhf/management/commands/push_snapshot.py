"""`manage.py push_snapshot`: a snapshot's folder to the Hugging Face hub."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import hub
from rlhf.arguments import find_snapshot, with_example


class Command(BaseCommand):
    help = "Pushes a snapshot to the Hugging Face hub, into a private dataset repository. Needs HF_TOKEN."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(parser, "push_snapshot prefs@2 my-team/support-prefs")
        parser.add_argument("snapshot", help="NAME or NAME@VERSION")
        parser.add_argument("repository", help="owner/name on the hub")
        parser.add_argument("--public", action="store_true", help="make a new repository public")

    def handle(self, *, snapshot: str, repository: str, public: bool, **options: Any) -> None:
        try:
            self.stdout.write(hub.push(find_snapshot(snapshot), repository, public=public))
        except hub.HubError as error:
            raise CommandError(str(error)) from error
