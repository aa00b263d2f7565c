"""manage.py create_token: a bearer token for a program, printed alone."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation.models import ApiToken, User

EXAMPLES = """examples:
  manage.py create_token ada
  TOKEN=$(manage.py create_token exporter --scope read --days 365 --name nightly)
"""


class Command(BaseCommand):
    help = "Make an API token for an account and print the token alone; it is never shown again."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the account's user name")
        parser.add_argument("--name", default="", help="what the token is for")
        parser.add_argument("--scope", choices=ApiToken.Scope.values, default=ApiToken.Scope.WRITE)
        parser.add_argument("--days", type=int, default=90, help="days until it expires (1 to 3650)")

    def handle(self, *, user: str, name: str, scope: str, days: int, **options: Any) -> None:
        owner = User.objects.filter(username=user).first()
        if owner is None:
            raise CommandError(f"There is no account {user}.")
        if not owner.is_active:
            raise CommandError(f"The account {user} is not active.")
        if not 1 <= days <= 3650:
            raise CommandError("--days must be from 1 to 3650.")
        if len(name) > 80:
            raise CommandError("--name may have at most 80 characters.")
        _, secret = ApiToken.issue(owner, days=days, name=name, scope=scope)
        self.stdout.write(secret)
