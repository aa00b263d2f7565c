"""One run of Hone's engine on the reference work, in a process of its own: python -m bench.parts.hone_run '{...}'"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from bench.parts import reference
from bench.parts.turns import Steps, now


def main() -> None:
    order = json.loads(sys.argv[1])
    folder, method = Path(order["work"]), order["method"]
    work = reference.load(folder)
    os.environ["HONE_DATA"] = str(folder)  # where references are kept between runs
    run_folder = folder / "runs" / f"{method}-{order['number']}"
    run_folder.mkdir(parents=True)
    (run_folder / "run.json").write_text(json.dumps(run_file(work, folder, order, method)))
    timed(run_folder, method, Steps(order), Path(order["out"]))


def run_file(work: reference.Work, folder: Path, order: dict[str, Any], method: str) -> dict[str, Any]:
    params = {
        "learning_rate": work.learning_rate,
        "batch_size": work.batch,
        "epochs": 1.0,
        "max_steps": order["steps"],
        "decay": "constant",
        "warmup_ratio": 0.0,
        "checkpoint_every": 0,
    }
    params |= {"center_coefficient": 0.0} if method == "reward" else {}
    params |= {"sample_prompts": 0} if method == "dpo" else {}
    return {
        "schema": 1,
        "kind": method,
        "name": "bench",
        "seed": work.seed,
        "base_model": {"path": str(folder / ("classifier" if method == "reward" else "causal"))},
        "start_adapter": {"path": str(folder / ("reward_adapter" if method == "reward" else "adapter"))},
        "adapter": {"method": "lora", "r": work.rank, "alpha": 2 * work.rank, "targets": "all-linear"},
        "snapshot": {"path": str(folder / ("sft" if method == "sft" else "preference"))},
        "params": params,
        "hardware": {"device": "cpu", "threads": order["threads"], "dtype": "float32"},
    } | ({"reference": "base"} if method == "dpo" else {})


def timed(run_folder: Path, method: str, steps: Steps, out: Path) -> None:
    """The engine itself, except that rows come in the order of the file, as its rival gets them."""
    import importlib

    from training import data, rundir, runfile

    def in_file_order(lengths: Any, batch_size: int, **_: Any) -> list[list[int]]:
        rows = list(range(len(lengths)))
        return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]

    data.batches = in_file_order
    train = importlib.import_module(f"training.{method}").train
    started: dict[str, tuple[float, float]] = {}
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    class Watched(rundir.RunDir):
        def phase(self, name: str, *args: Any, **keys: Any) -> None:
            started[name] = now()
            super().phase(name, *args, **keys)
            if name == "training":
                steps.begin()

        def log(self, step: int, **metrics: Any) -> None:
            super().log(step, **metrics)
            if "lr" in metrics:
                steps.end()
                steps.begin()

    run = Watched(run_folder)
    train(runfile.read(run_folder / "run.json"), run)
    nothing = (0.0, 0.0)
    before, after = started.get("reference, train", nothing), started.get("reference, eval", nothing)
    losses = [row["loss"] for row in rundir.read_metrics(run_folder) if row.get("loss") is not None]
    found = steps.found() | {
        "losses": losses,
        "reference": [b - a for a, b in zip(before, after, strict=True)],
        "imports_mb": at_rest / 1024,
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
