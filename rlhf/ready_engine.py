"""A training engine kept ready: a run then starts at once, where a process of its own loads its libraries first."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings

ENGINE = "training.ready"  # says what goes over the socket; a process of its own, for it loads torch
READY = b"ready"
GPU = Path("/proc/driver/nvidia")
PATIENCE = 60  # seconds


def may_fork() -> bool:
    """Whether engines can be forked on this machine: a GPU is lost to a process whose parent has looked at it."""
    return sys.platform == "linux" and not GPU.exists()


class ReadyEngine:
    """Give it back with `close`; the runs it has started go on."""

    def __init__(self, environment: Mapping[str, str], methods: Sequence[str] | None = None) -> None:
        self._door, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", ENGINE, str(theirs.fileno()), *([] if methods is None else [" ".join(methods)])],
                cwd=settings.BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # one that cannot load its libraries never is ready, and a run says why
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        self._ready = False

    def becomes_ready(self) -> bool:
        """Whether the libraries are loaded, once they are: to load them a second time beside would take longer.

        False when it has ended, or takes longer than any engine should.
        """
        if not self._ready and select.select([self._door], [], [], PATIENCE)[0]:
            self._ready = self._door.recv(len(READY)) == READY
        return self._ready

    def start(self, folder: Path, lock: int, output: int) -> int:
        """The pid of a process that runs `folder` now, holds `lock` and prints to `output`; OSError when it is gone."""
        socket.send_fds(self._door, [os.fsencode(folder)], [lock, output])
        answer = self._door.recv(32)
        if not answer:
            raise ConnectionError(os.EX_UNAVAILABLE, "the engine that was kept ready has ended")
        return int(answer)

    def close(self) -> None:
        self._door.close()
        self._process.terminate()
        self._process.wait()
