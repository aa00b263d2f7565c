"""Bytes of a file, unzipped when they are gzip, with a bound on what a small archive may unpack to."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

LEAST_UNPACKED = 64 * 1024 * 1024  # bytes that any archive may unpack to
MAX_RATIO = 100  # text packs 3 to 20 times; a hundred is a bomb


class UnreadableFile(ValueError):
    """Nothing (more) can be read from this file; the message is one sentence."""


def unpacked(path: Path) -> BinaryIO:
    """The file opened for reading, whether or not it is gzip, whatever its name says."""
    with path.open("rb") as handle:
        packed = handle.read(2) == b"\x1f\x8b"
    if not packed:
        return path.open("rb")
    return io.BufferedReader(_Unzipped(path), 1 << 20)


class _Unzipped(io.RawIOBase):
    """A gzip stream that names its faults and refuses to become a bomb."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.bound = max(LEAST_UNPACKED, MAX_RATIO * path.stat().st_size)
        self.given = 0
        self.inner = gzip.open(path, "rb")  # noqa: SIM115  closed by close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.inner.read(len(buffer))
        except EOFError:
            raise UnreadableFile(f"{self.name} ends in the middle of its gzip data; copy it again.") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableFile(f"{self.name} is damaged gzip data ({error}); copy it again.") from None
        self.given += len(data)
        if self.given > self.bound:
            raise UnreadableFile(
                f"{self.name} unpacks to more than {self.bound >> 20} MB, far beyond its size; unpack it first."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.inner.close()
        super().close()
