"""A file read and looked at by a process of its own, while the one that asked for it stores what was read before.

The second process is a fork, which needs no start of its own, and asks no database. It ends when nobody reads what it
says any more: at the latest at its next word, so that none stays behind a parent that was killed. Meanwhile it has what
the first one wrote brought to the disk, which that would otherwise wait for.
"""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from django.utils.translation import gettext

from annotation.reading import TEXT_READERS, UnreadableFile

T = TypeVar("T")

LEAST_BYTES = 4 * 1024**2  # of a file, from which a second process is worth its while
PIPE = 1024**2  # bytes on their way: a batch of usual records
WAITING = 3  # batches besides: what is read while the other process brings the pages of a checkpoint into its database
LAST = {"end", "error"}
TO_DISK = 0.05  # seconds after which the system is asked again to bring to the disk what was written
SELDOM = (100_000, 50, 50)  # objects until the other process looks for cycles: records have none


def pays(source: Path | str | Iterable[Any], container: str) -> bool:
    """Whether a source is large enough, another core is there, and nothing else runs that a fork would tear apart."""
    if not isinstance(source, str | Path) or container not in TEXT_READERS or sys.platform != "linux":
        return False
    large = Path(source).is_file() and Path(source).stat().st_size >= LEAST_BYTES
    return large and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


def ahead(items: Iterable[T], written: Sequence[Path] = ()) -> Generator[T, None, None]:
    """The same items, made by another process; what goes wrong there is raised here. Closing this ends that.

    `written` are the files that this process writes to.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _tell(items, writer, written)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as told:
            while True:
                try:
                    said, item = pickle.load(told)  # noqa: S301  our own process wrote it
                except (EOFError, pickle.UnpicklingError):
                    died = gettext("The process that reads the file died; start the import again.")
                    raise UnreadableFile(died) from None
                if said == "end":
                    return
                if said == "error":
                    raise item
                yield item
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _tell(items: Iterable[Any], writer: int, written: Sequence[Path]) -> None:
    """The other process: it never returns, nor does it run anything that the first one left to be run at its end."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one ends this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.freeze()  # what both share stays shared
        gc.set_threshold(*SELDOM)
        with suppress(OSError):  # a system may grant less
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
        waiting: queue.Queue[tuple[str, Any]] = queue.Queue(WAITING)
        saying = threading.Thread(target=_say, args=(waiting, writer))
        saying.start()
        threading.Thread(target=_bring_to_disk, args=(written,), daemon=True).start()
        for word in _words(items):
            waiting.put(word)
        saying.join()
    finally:
        os._exit(0)


def _say(waiting: queue.Queue[tuple[str, Any]], writer: int) -> None:
    """Write down what waits, till the last word. When nobody reads it any more this process has nothing left to do."""
    try:
        with os.fdopen(writer, "wb") as out:
            word = ""
            while word not in LAST:
                word, item = waiting.get()
                # Into the pipe at once: no second copy of long texts.
                pickler = pickle.Pickler(out, pickle.HIGHEST_PROTOCOL)
                pickler.fast = True  # keeps no list of what was said, which nothing here says twice
                pickler.dump((word, item))
                out.flush()
    finally:
        os._exit(0)


def _bring_to_disk(written: Sequence[Path]) -> None:
    """Again and again, so that little is left of it when the process that wrote must wait till it is there."""
    with suppress(OSError):  # that one waits longer, and tells what is wrong
        files = [os.open(path, os.O_RDONLY) for path in written]
        while files:
            for file in files:
                os.fdatasync(file)
            time.sleep(TO_DISK)


def _words(items: Iterable[Any]) -> Generator[tuple[str, Any], None, None]:
    try:
        for item in items:
            yield "item", item
    except Exception as error:  # the border of a process
        yield "error", error
    else:
        yield "end", None
