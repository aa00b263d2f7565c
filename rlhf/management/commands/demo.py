"""The whole loop on this machine: from nothing to a policy that people prefer, and the site to look at it."""

import json
import sys
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.models import User
from rlhf import serving
from rlhf.demo import story, summary
from rlhf.demo.progress import Progress
from rlhf.launcher import LOCAL
from rlhf.models import Round
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

    def handle(self, *args: Any, host: str, port: int, model: str, no_serve: bool, **options: Any) -> None:
        began = time.monotonic()
        try:
            if not no_serve:
                serving.require_port(host, port)  # now, not after ten minutes
            with LOCAL.kept_ready():  # its libraries load while the tables are made
                call_command("migrate", verbosity=0)
                admin = serving.site_admin()
                round = _play(admin, model)
        except (serving.PortTaken, story.DemoFailed, RegistryError, RunFileError) as error:
            raise CommandError(str(error)) from None
        result = summary.summarise(round, time.monotonic() - began)
        self.stdout.write("\n" + "\n".join(summary.table(result, round)))
        self.stdout.write(
            "All judgements above are by simulated people with a known utility; sit down and judge the next batch."
        )
        address = f"http://{host}:{port}/"
        self.stdout.write(f"\n{f'make serve, then {address}' if no_serve else address}  {_how_to_sign_in(admin)}")
        if no_serve:
            self.stdout.write(json.dumps(result))
        else:
            call_command("serve", host=host, port=port)


def _play(by: User, model: str) -> Round:
    try:
        return story.play(Progress(sys.stdout, list(story.STEPS.values())), by=by, model=model)
    except KeyboardInterrupt:
        story.stop()
        raise CommandError("Stopped. The same command goes on from here.", returncode=130) from None


def _how_to_sign_in(admin: User) -> str:
    """The admin's name, and the password the one time that it can be shown."""
    if password := serving.first_password(admin):
        return f"sign in as {admin.username}, password {password} (shown this once)"
    again = f"manage.py changepassword {admin.username} sets a new one"
    return f"sign in as {admin.username}, with the password shown at the first start ({again})"
