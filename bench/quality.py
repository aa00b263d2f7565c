"""A whole quality report of a large project, as the worker makes it: python bench/quality.py [--judgements 1000000]

Generated people of known reliability judge pairs, or rate with four aspects; the report is then worked out in a process
of its own, from reading the database to the row that pages read. With --data a filled database is kept and used again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)
os.chdir(ROOT)

LONGEST, MOST_MEMORY = 180.0, 1500.0  # seconds and MB for a million judgements
KINDS = ("preference", "rating")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judgements", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--data", type=Path, help="a folder to keep the databases in")
    options = parser.parse_args()
    results = {}
    for kind in options.kinds:
        with _filled(kind, options.judgements, options.data) as folder:
            results[kind] = _report(kind, options.judgements, folder)
        print(f"{kind}: {results[kind]}")
    targets = {}
    for kind, found in results.items():
        for name, most in (("seconds", LONGEST), ("peak_mb", MOST_MEMORY)):
            value = found[name]
            targets[f"{kind}_{name}"] = {"value": value, "target": most, "met": value <= most}
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "quality", "device": device, "results": results, "targets": targets}))


@contextmanager
def _filled(kind: str, judgements: int, data: Path | None) -> Iterator[str]:
    """The folder of a database with that many judgements."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as passing:
        folder = data / f"{kind}-{judgements}" if data else Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "filled").exists():
            environment = _environment(str(folder))
            subprocess.run(_command("fill", kind, judgements), env=environment, check=True)
            (folder / "filled").touch()
        yield str(folder)


def _report(kind: str, judgements: int, folder: str) -> dict[str, Any]:
    command = _command("report", kind, judgements)
    done = subprocess.run(command, env=_environment(folder), stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _command(side: str, kind: str, judgements: int) -> list[str]:
    return [sys.executable, "-m", "bench.parts.quality_run", side, kind, str(judgements)]


def _environment(folder: str) -> dict[str, str]:
    return os.environ | {"HONE_DATA": folder, "DJANGO_SETTINGS_MODULE": "config.settings"}


if __name__ == "__main__":
    main()
