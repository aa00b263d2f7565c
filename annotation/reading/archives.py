"""Bytes of a file, unpacked when they are gzip or zip, with a bound on what a small archive may unpack to."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

LEAST_UNPACKED = 64 * 1024 * 1024  # bytes that any archive may unpack to
MOST_UNPACKED = 20 * 1024**3  # bytes that no archive may exceed, however large it is
MAX_RATIO = 100  # text packs 3 to 20 times; a hundred is a bomb
MOST_MEMBERS = 2000  # files in one zip
SAVED = ("dataset_dict.json", "state.json")  # what the root of a saved dataset holds


class UnreadableFile(ValueError):
    """Nothing (more) can be read from this file; the message is one sentence."""


def unpacked(path: Path) -> BinaryIO:
    """The file opened for reading, whether or not it is gzip, whatever its name says."""
    with path.open("rb") as handle:
        packed = handle.read(2) == b"\x1f\x8b"
    if not packed:
        return path.open("rb")
    return io.BufferedReader(_Unzipped(path), 1 << 20)


def is_zip(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def extracted(path: Path) -> Iterator[Path]:
    """The one data file of a zip, or the dataset folder that it holds, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hone-zip-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                found = _extract(archive, path, Path(folder))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise UnreadableFile(f"{path.name} is a damaged or locked zip ({str(error)[:100]}).") from None
        yield found


def _extract(archive: zipfile.ZipFile, path: Path, folder: Path) -> Path:
    members = {name: info for info in archive.infolist() if (name := _inside(info, path)) is not None}
    if len(members) > MOST_MEMBERS:
        raise UnreadableFile(f"{path.name} holds {len(members):,} files; at most {MOST_MEMBERS:,} are read.")
    roots = [name.parent for marker in SAVED for name in members if name.name == marker]
    if roots:
        root = min(roots, key=lambda name: len(name.parts))
        wanted = {name: info for name, info in members.items() if name.is_relative_to(root)}
    elif len(members) == 1:
        root, wanted = next(iter(members)), members
    else:
        raise UnreadableFile(f"{path.name} holds {len(members)} files; zip one data file or one saved dataset.")
    bound = _bound(path)
    if sum(info.file_size for info in wanted.values()) > bound:
        raise UnreadableFile(
            f"{path.name} unpacks to more than {bound >> 20} MB, far beyond its size; unpack it first."
        )
    for name, info in wanted.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as inner, target.open("wb") as out:  # reads no more than the size just counted
            shutil.copyfileobj(inner, out, 1 << 20)
    return folder / root


def _bound(path: Path) -> int:
    return min(max(LEAST_UNPACKED, MAX_RATIO * path.stat().st_size), MOST_UNPACKED)


def _inside(info: zipfile.ZipInfo, path: Path) -> PurePosixPath | None:
    """The member's place below the root; None for folders and for what operating systems add."""
    name = PurePosixPath(info.filename)
    if info.is_dir() or name.parts[:1] == ("__MACOSX",) or name.name.startswith("."):
        return None
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or "\x00" in info.filename:
        raise UnreadableFile(f"{path.name} holds {info.filename[:80]!r}, which leads out of it.")
    return name


class _Unzipped(io.RawIOBase):
    """A gzip stream that names its faults and refuses to become a bomb."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.bound = _bound(path)
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
