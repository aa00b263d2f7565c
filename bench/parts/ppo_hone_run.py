"""One PPO run of Hone's engine, in a process of its own: python -m bench.parts.ppo_hone_run '{...}'"""

import json
import sys
from pathlib import Path
from typing import Any

from bench.parts import ppo_work, reference
from bench.parts.turns import Steps


def main() -> None:
    order = json.loads(sys.argv[1])
    folder = Path(order["work"])
    work, ppo = reference.load(folder), ppo_work.load(folder)
    run_folder = folder / "runs" / f"ppo-{order['number']}"
    run_folder.mkdir(parents=True)
    (run_folder / "prompts.jsonl").write_bytes((folder / "prompts.jsonl").read_bytes())
    (run_folder / "run.json").write_text(json.dumps(run_file(work, ppo, folder, order)))

    from training import ppo as engine
    from training import rundir, runfile

    steps = Steps(order)

    class Watched(rundir.RunDir):
        def phase(self, name: str, *args: Any, **keys: Any) -> None:
            super().phase(name, *args, **keys)
            if name == "training":
                steps.begin()

        def log(self, step: int, **metrics: Any) -> None:
            super().log(step, **metrics)
            if "lr" in metrics:
                steps.end()
                steps.begin()

    run = Watched(run_folder)
    engine.train(runfile.read(run_folder / "run.json"), run)
    rows = [row for row in rundir.read_metrics(run_folder) if row.get("score") is not None]
    found = steps.found() | {
        "scores": [row["score"] for row in rows],
        "lengths": [row["length"] for row in rows],
        "adapter": str(run_folder / "model"),
    }
    Path(order["out"]).write_text(json.dumps(found))


def run_file(work: reference.Work, ppo: ppo_work.PPOWork, folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    params = {
        "steps": order["steps"],
        "rollout_batch": ppo.rollout,
        "minibatch": ppo.minibatch,
        "ppo_epochs": ppo.epochs,
        "learning_rate": ppo.learning_rate,
        "beta": ppo.kl,
        "max_new_tokens": ppo.longest,
        "temperature": ppo.temperature,
        "value_warmup_steps": 0,
        "reward_norm": False,
        "missing_eos_penalty": 0.0,
        "sample_every": 0,
        "eval_prompts": 0,
        "checkpoint_every": 0,
    }
    return {
        "schema": 1,
        "kind": "ppo",
        "name": "bench",
        "seed": work.seed,
        "base_model": {"path": str(folder / "causal")},
        "adapter": {"method": "lora", "r": work.rank, "alpha": 2 * work.rank, "targets": "all-linear"},
        "reference": "base",
        "reward_model": {"path": str(folder / order.get("reward", "reward_adapter"))},
        "prompts": "prompts.jsonl",
        "params": params,
        "hardware": {"device": "cpu", "threads": order["threads"], "dtype": "float32"},
    }


if __name__ == "__main__":
    main()
