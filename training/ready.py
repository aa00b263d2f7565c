"""An engine with its libraries loaded, which forks a process for each run directory that it is handed.

Loading torch, transformers and peft takes a process five to ten seconds, more than a short run spends on its work.
`python -m training.ready DESCRIPTOR` loads them once, says READY on that socket, and waits. A message is the path of a
run directory; with it come two descriptors, of the directory's lock and of the file for what the process prints, and
the answer is the pid. The process then is like any other engine: it has a session of its own and outlives this one.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import warnings
from collections.abc import Sequence

from training import __main__ as engine

READY = b"ready"
LONGEST = 4096  # bytes of a path


def main(descriptor: int, methods: Sequence[str] = tuple(engine.METHODS.values())) -> int:
    """Serve until the other end of the socket is closed; in a forked process, run the engine."""
    door = socket.socket(fileno=descriptor)
    for method in methods:
        importlib.import_module(method)
    gc.freeze()  # a collection in a forked process would copy all that is shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that end leave no zombie
    door.sendall(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(door, LONGEST, 2)
        if not message:
            return 0
        with warnings.catch_warnings():  # the threads that libraries begin with know how to be forked
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            door.close()
            return work(message.decode(), *descriptors)
        for each in descriptors:
            os.close(each)
        door.sendall(str(pid).encode())


def work(folder: str, lock: int, output: int) -> int:
    """Be the engine of one run directory; `lock` stays open for as long as the process lives."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(output, target)
    return engine.main([folder])


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), *([sys.argv[2].split()] if sys.argv[2:] else [])))
