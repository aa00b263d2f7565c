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

from training import inputs, manual, runfile
from training.rundir import EXIT_CONFIG, EXIT_FAILED, RunDir, read_report, read_status, sole

METHODS = {kind: f"training.{kind}" for kind in runfile.PARAMS}


def check(path: Path) -> int:
    """Say whether the run would be accepted; nothing is written."""
    try:
        config = runfile.read(path / "run.json")
        inputs.check_inputs(config, path)
    except runfile.RunFileError as error:
        print(f"{error}.", file=sys.stderr)
        return EXIT_CONFIG
    print(f"This {config.kind} run is accepted.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Run or resume one run directory. Example: python -m training var/runs/12",
        epilog="Exit codes: 0 succeeded, 143 stopped, 2 bad run.json, 1 any other failure.",
    )
    parser.add_argument("run_dir", type=Path, nargs="?", help="a directory that holds run.json")
    parser.add_argument("--check", action="store_true", help="only check run.json and what it names, without torch")
    parser.add_argument(
        "--settings",
        choices=manual.TOPICS,
        metavar="KIND",
        help="show the settings of a kind of run, adapter or hardware",
    )
    asked = parser.parse_args(arguments)
    if asked.settings:
        print(manual.settings_of(asked.settings))
        return 0
    if asked.run_dir is None:
        parser.error("name a directory that holds run.json")
    path = asked.run_dir.resolve()
    if not path.is_dir():
        print(f"{path} is not a directory.", file=sys.stderr)
        return EXIT_CONFIG
    if asked.check:
        return check(path)
    if read_status(path)["state"] == "succeeded" and read_report(path):
        print("This run has already succeeded.")
        return 0
    with sole(path) as alone:
        if not alone:
            print("Another process works on this run; wait for it, or stop it first.", file=sys.stderr)
            return EXIT_FAILED
        run = RunDir(path)
        with run.recorded():
            config = runfile.read(path / "run.json")
            inputs.check_inputs(config, path)
            method = importlib.import_module(METHODS[config.kind])  # torch loads here, not before
            method.train(config, run)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
