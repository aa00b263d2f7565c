"""`manage.py serve`: the site and the worker in one command."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rlhf import serving
from rlhf.arguments import with_example


class Command(BaseCommand):
    help = "Serves the site and runs the worker. Both end together on Ctrl-C or SIGTERM; training goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(parser, "serve", "serve --host 0.0.0.0 --port 8080 --workers 2 --threads 16")
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")
        parser.add_argument("--workers", type=int, default=serving.WORKERS, help="web processes (2 on several cores)")
        parser.add_argument("--threads", type=int, help="threads in each of them (8 in all, at least 4 in each)")

    def handle(self, *, host: str, port: int, workers: int, threads: int | None, **options: Any) -> None:
        if missing := serving.unapplied_migrations():
            text = f"{len(missing)} migrations are not applied, {missing[0]} the first"
            raise CommandError(f"{text}. Run: manage.py migrate")
        if threads is None:
            threads = max(4, 8 // max(workers, 1))
        if workers < 1 or threads < 1:
            raise CommandError("--workers and --threads must be at least 1.")
        try:
            serving.require_port(host, port)
        except serving.PortTaken as error:
            raise CommandError(str(error)) from None
        admin = serving.site_admin()
        if password := serving.first_password(admin):
            self.stdout.write(f"First start. Sign in as {admin} with the password {password} (shown this once).")
        serving.collect_static()
        self.stdout.flush()
        serving.become_supervisor(host, port, workers, threads)
