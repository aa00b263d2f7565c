"""The web server's process: granian with Hone's WSGI application, gone when the process that started it is gone."""

import argparse
import os
import signal
import threading
import time

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rlhf.web", description="Started by manage.py serve.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    server = Granian(
        "config.wsgi:application",
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


def _watch(parent: int) -> None:
    """A killed `serve` cannot say goodbye, and its web server would keep the port."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
