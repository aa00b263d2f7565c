"""Data in and out against the physical floor of this machine: python bench/data.py [--pairs 100000]"""

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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        results = {
            "import": data_import.measure(Path(folder), options.pairs),
            "export": data_export.measure(Path(folder), options.pairs),
        }
    targets = data_import.targets(results["import"]) | data_export.targets(results["export"])
    for half in results.values():
        for name, figure in half.items():
            print(f"{name:28}{figure:>16,.2f}")
    for name, target in targets.items():
        print(f"{name:28}{target['value']:>16} of {target['target']}{'' if target['met'] else ', missed'}")
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "data", "device": device, "results": results, "targets": targets}))


if __name__ == "__main__":
    main()
