"""`python -m training RUN_DIR` runs or resumes one run directory."""

import os

# Read by the libraries when they are imported, hence before any of them.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import importlib
import sys
from pathlib import Path

from training import inputs, runfile
from training.rundir import EXIT_CONFIG, RunDir, read_report, read_status

METHODS = {kind: f"training.{kind}" for kind in runfile.PARAMS}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Run or resume one run directory. Example: python -m training var/runs/12",
        epilog="Exit codes: 0 succeeded, 143 stopped, 2 bad run.json, 1 any other failure.",
    )
    parser.add_argument("run_dir", type=Path, help="a directory that holds run.json")
    path = parser.parse_args(arguments).run_dir.resolve()
    if not path.is_dir():
        print(f"{path} is not a directory.", file=sys.stderr)
        return EXIT_CONFIG
    if read_status(path)["state"] == "succeeded" and read_report(path):
        print("This run has already succeeded.")
        return 0
    run = RunDir(path)
    with run.recorded():
        config = runfile.read(path / "run.json")
        inputs.check_inputs(config, path)
        method = importlib.import_module(METHODS[config.kind])  # torch loads here, not before
        method.train(config, run)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
