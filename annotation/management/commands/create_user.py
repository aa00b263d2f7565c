"""manage.py create_user: an account, its password printed once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from annotation.models import Membership, Project, Role, User

EXAMPLES = """examples:
  manage.py create_user ada --role annotator --project support
  manage.py create_user root --role admin
"""


class Command(BaseCommand):
    help = "Make an account and print its password, once. An admin has no project; any other role belongs to one."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the user name")
        parser.add_argument("--role", choices=[*Role.values, "admin"], required=True)
        parser.add_argument("--project", help="slug of the project in which the account has the role")

    def handle(self, *, name: str, role: str, project: str | None, **options: Any) -> None:
        if role == "admin" and project:
            raise CommandError("An admin may do everything everywhere: leave --project out.")
        place = _project(project) if project else None
        password = secrets.token_urlsafe(12)
        user = User(username=name, is_superuser=role == "admin", is_staff=role == "admin")
        user.set_password(password)
        try:
            user.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        with transaction.atomic():
            user.save()
            if place is not None:
                Membership.objects.create(user=user, project=place, role=role)
        if place is None and role != "admin":
            self.stderr.write("The account has no project yet; a project's manager can add it on the People page.")
        self.stdout.write(password)


def _project(slug: str) -> Project:
    found = Project.objects.filter(slug=slug, is_staging=False).first()
    if found is None:
        raise CommandError(f"There is no project {slug}.")
    return found
