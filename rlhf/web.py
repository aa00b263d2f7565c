"""The web server's process: granian with Hone's WSGI application, gone when the process that started it is gone."""

import argparse
import gc
import importlib
import os
import signal
import sys
import threading
import time

from django.template.loader import get_template
from django.urls import get_resolver
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

APPLICATION = "config.wsgi"
# Seconds until a thread that computes lets others in. In SQLite's one write transaction each statement hands the
# interpreter on, and Python's own 5 ms, waited for after each, would be the length of everybody's line.
TURN = 0.001
# What the judging page is drawn from; its own template names the others only while it is drawn.
JUDGING = ("annotation/work.html", "focus.html", "base.html", "annotation/_item.html", "annotation/_preference.html")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rlhf.web", description="Started by manage.py serve.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    sys.setswitchinterval(TURN)
    _load()
    server = Granian(
        f"{APPLICATION}:application",
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        workers=options.workers,
        blocking_threads=options.threads,
        websockets=False,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
    )
    threading.Thread(target=_watch, args=(options.parent,), daemon=True, name="parent").start()
    server.serve()


def _load() -> None:
    """All that requests run, loaded before the processes part: they share its memory and nobody's first page waits."""
    for module in (APPLICATION, "config.urls"):
        importlib.import_module(module)
    get_resolver().reverse_dict  # noqa: B018  asked for once, it compiles the pattern of every address
    for name in JUDGING:
        get_template(name)
    gc.collect()
    gc.freeze()  # a collection in one process would copy every page that it looks at


def _watch(parent: int) -> None:
    """A killed `serve` cannot say goodbye, and its web server would keep the port."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
