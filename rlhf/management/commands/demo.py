"""The whole loop on this machine: from nothing to a policy that people prefer, and the site to look at it."""

import json
import secrets
import sys
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.models import User
from rlhf.demo import story, summary
from rlhf.demo.progress import Progress
from rlhf.launcher import LOCAL
from rlhf.registry import RegistryError
from training.runfile import RunFileError


class Command(BaseCommand):
    help = (
        "Close the loop once: simulated people judge, a reward model and two policies are trained and compared. "
        "Example: manage.py demo --no-serve"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--model", default="", help="a folder or a hub id to start from, in place of a small model made here"
        )
        parser.add_argument(
            "--no-serve", action="store_true", help="stop after the summary, whose last line is one JSON object"
        )
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            with LOCAL.kept_ready():  # its libraries load while the tables are made
                call_command("migrate", verbosity=0)
                admin, password = _admin()
                progress = Progress(sys.stdout, list(story.STEPS.values()))
                round = story.play(progress, by=admin, model=options["model"])
        except (story.DemoFailed, RegistryError, RunFileError) as error:
            raise CommandError(str(error)) from None
        result = summary.summarise(round, time.monotonic() - began)
        self.stdout.write("\n" + "\n".join(summary.table(result, round)))
        self.stdout.write(
            "All judgements above are by simulated people with a known utility; sit down and judge the next batch."
        )
        address = f"http://{options['host']}:{options['port']}/"
        where = f"make serve, then {address}" if options["no_serve"] else address
        self.stdout.write(f"\n{where}  sign in as {admin.username}, {password}")
        if options["no_serve"]:
            self.stdout.write(json.dumps(result))
        else:
            call_command("serve", host=options["host"], port=options["port"])


def _admin() -> tuple[User, str]:
    """The site's admin and what to say of the password, which is shown only when it is made."""
    if admin := User.objects.filter(is_superuser=True).order_by("pk").first():
        return (
            admin,
            f"with the password shown at the first start (manage.py changepassword {admin.username} sets a new one)",
        )
    password = secrets.token_urlsafe(12)
    return User.objects.create_superuser("admin", password=password), f"password {password}"
