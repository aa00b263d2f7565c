"""Data in and out against the physical floor of this machine: python bench/data.py [--pairs 100000]

`python -m tests.postgres python bench/data.py --only import` measures the same on a throw-away PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)
os.chdir(ROOT)

from bench.parts import data_export, data_import  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--only", choices=("import", "export"), help="one half")
    parser.add_argument("--format", choices=("parquet", "jsonl"), default="parquet", help="of the file that comes in")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side")
    options = parser.parse_args()
    results, targets = {}, {}
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        if options.only != "export":
            results["import"] = data_import.measure(Path(folder), options.pairs, options.format, options.repeats)
            targets |= data_import.targets(results["import"])
        if options.only != "import":
            results["export"] = data_export.measure(Path(folder), options.pairs, options.repeats)
            targets |= data_export.targets(results["export"])
    for half in results.values():
        for name, figure in half.items():
            print(f"{name:28}{figure if isinstance(figure, str) else f'{figure:,.2f}':>16}")
    for name, target in targets.items():
        print(f"{name:28}{target['value']:>16} of {target['target']}{'' if target['met'] else ', missed'}")
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "data", "device": device, "results": results, "targets": targets}))


if __name__ == "__main__":
    main()
