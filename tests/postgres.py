"""A throw-away PostgreSQL on a unix socket, for tests; `python -m tests.postgres COMMAND…` runs a command beside one.

The command gets DATABASE_URL, so `python -m tests.postgres pytest` runs the whole suite on PostgreSQL. The server keeps
nothing: it lives in a temporary folder, does not sync, and is gone afterwards.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}
START_SECONDS = 60
OWNERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root


def programs() -> Path | None:
    """The folder of initdb and its kin, newest version first; None when this machine has no PostgreSQL."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    roots = [Path("/usr/lib/postgresql"), Path("/usr/local/opt"), Path("/opt/homebrew/opt")]
    folders = [path.parent for root in roots for path in root.glob("*/bin/initdb")]
    return max(folders, key=_version, default=None)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a running server's empty database; the server stops when the block ends."""
    folder = programs()
    if folder is None:
        raise FileNotFoundError("PostgreSQL's initdb is not on this machine.")
    owner = next((name for name in OWNERS if _exists(name)), None) if os.geteuid() == 0 else None
    # Not under TMPDIR: a socket's path may have 107 bytes at most, and another user must be able to enter.
    home = Path(tempfile.mkdtemp(prefix="hone-pg-", dir="/tmp"))
    home.chmod(0o755)
    if owner:
        shutil.chown(home, owner)
    data = home / "data"
    as_owner = {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []} if owner else {}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": home, **as_owner}
    try:
        locale = ["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        subprocess.run([folder / "initdb", "-D", data, "-U", "hone", *locale], check=True, **quiet)
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        command = [folder / "postgres", "-D", data, "-k", home, "-clisten_addresses=", *options]
        process = subprocess.Popen(command, **quiet)
        try:
            _wait(folder, home, process)
            subprocess.run([folder / "createdb", "-h", home, "-U", "hone", "hone"], check=True, **quiet)
            yield f"postgresql://hone@{quote(str(home), safe='')}/hone"
        finally:
            process.terminate()
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def new_database(url: str) -> str:
    """The URL of a new database, a copy of the one that `url` leads to and nobody else may be connected to."""
    home, source = url.rsplit("/", 1)
    name = f"hone_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())
    return f"{home}/{name}"


def _version(folder: Path) -> list[int]:
    """[15] for /usr/lib/postgresql/15/bin, [16] for …/postgresql@16/bin."""
    return [int(part) for part in re.findall(r"\d+", folder.parent.name)]


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _wait(folder: Path, home: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended at once with status {process.returncode}.")
        if subprocess.run([folder / "pg_isready", "-h", home, "-U", "hone"], capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start within {START_SECONDS} s.")


if __name__ == "__main__":
    with server() as url:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "DATABASE_URL": url}).returncode)
