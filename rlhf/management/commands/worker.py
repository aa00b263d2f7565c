"""`manage.py worker`: supervise runs, advance rounds, do the chores."""

import logging
import os
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rlhf import worker
from rlhf.arguments import with_example


class Command(BaseCommand):
    help = "Supervises runs, advances rounds and does imports and other chores, until stopped. Training outlives it."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(parser, "worker", "serve   (starts one by itself)")
        parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")

    def handle(self, *, parent: int | None, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        if parent:
            threading.Thread(target=_watch, args=(parent, stop), daemon=True, name="parent").start()
        logging.getLogger("rlhf").info("The worker has started")
        worker.run_worker(stop)


def _watch(parent: int, stop: threading.Event) -> None:
    """A killed `serve` cannot say goodbye; its worker notices that it has another parent."""
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()
