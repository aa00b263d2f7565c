"""PPO beside the last one that TRL shipped (trl 1.12.0, installed into bench/.peers): python bench/ppo.py [--quick]

Both answer the same number of prompts with the same model, reward model and adapter shape and learn from them in as
many updates; every run is a process of its own and the two take turns. Compared are answers a processor second and peak
memory. With --truth the model is small and its reward model learnt from noisy judgements of a hidden worth; compared is
what the answers of both policies are truly worth after equal samples, over several seeds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise bench/training.py would be `training`

from bench.parts import floor, ppo_truth, ppo_work, reference  # noqa: E402

PEER = ROOT / "bench" / ".peers" / "trl-1.12.0"
FASTER, MEMORY = 3.0, 0.5


def main() -> None:
    options = arguments()
    install()
    if options.truth:
        truth(options)
        return
    work = replace(
        reference.Work(), hidden=options.hidden, layers=options.layers, vocabulary=options.vocabulary,
        rows=options.rollout * 4,
    )  # fmt: skip
    ppo = ppo_work.PPOWork(rollout=options.rollout, longest=options.longest)
    runs: dict[str, list[dict[str, Any]]] = {"hone": [], "trl": []}
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        built(ppo_work.build, Path(name), work, ppo)
        for turn in range(options.rounds):
            for place, side in enumerate(runs):
                runs[side].append(one(Path(name), f"ppo_{side}_run", 2 * turn + place, options))
                print(side, json.dumps(runs[side][-1]), flush=True)  # a bench that is stopped has not been for nothing
    report(runs, ppo, work, options.threads)


def built(build: Callable[..., None], *args: Any) -> None:
    """Run `build` in a process of its own: a run inherits the peak memory of whoever starts it."""
    process = multiprocessing.get_context("spawn").Process(target=build, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("The work could not be built.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of two small steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="rounds of answering and learning in one run")
    parser.add_argument("--rollout", type=int, default=32, help="answers of one step; a multiple of 8")
    parser.add_argument("--longest", type=int, default=256, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--truth", action="store_true", help="what answers are worth after equal samples")
    parser.add_argument("--seeds", type=int, default=3, help="of --truth")
    parser.add_argument("--samples", type=int, default=960, help="answers that each side of --truth learns from")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rollout, options.longest, options.rounds = 2, 8, 96, 1
    return options


def install() -> None:
    if not PEER.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEER), "trl==1.12.0"]
        subprocess.run(command, check=True)


def one(folder: Path, module: str, number: int, options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    out = folder / f"{number}.json"
    order = {"work": str(folder), "number": number, "threads": options.threads, "steps": options.steps}
    command = [sys.executable, "-W", "ignore", "-m", f"bench.parts.{module}"]
    command.append(json.dumps(order | {"out": str(out), "peer": str(PEER)} | more))
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(out.read_text())


def hone_lengths(runs: dict[str, list[dict[str, Any]]]) -> list[float]:
    return [length for run in runs["hone"] for length in run["lengths"][1:]]


def lowest(work: reference.Work, ppo: ppo_work.PPOWork, answer: float, threads: int) -> dict[str, float]:
    """Answers a second of the bare arithmetic, at the rate of products of the shape of a minibatch."""
    operations = floor.experience(work, work.prompt, answer, ppo.epochs)
    speed = floor.matmul_rate(threads, round(ppo.minibatch * (work.prompt + answer)), work.hidden, work.feed_forward)
    return {"rate": speed / operations, "gigaflops": speed / 1e9}


def truth(options: argparse.Namespace) -> None:
    """What the answers of both sides are worth after equal samples, seed by seed, and the mean difference."""
    rollout = 32
    ppo = ppo_work.PPOWork(rollout=rollout, longest=32, learning_rate=1e-3)
    options.steps, options.threads = options.samples // rollout, 1
    found: list[dict[str, dict[str, float]]] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
            folder = Path(name)
            built(ppo_truth.build, folder, ppo_truth.work_of(options.samples, seed), ppo)
            started = {"adapter": None}
            learnt = {
                "start": started,
                "hone": one(folder, "ppo_hone_run", 0, options, reward="learnt_reward"),
                "trl": one(folder, "ppo_trl_run", 1, options),
            }
            found.append(
                {
                    side: one(folder, "ppo_truth", 2 + place, options, adapter=run["adapter"])
                    for place, (side, run) in enumerate(learnt.items())
                }
            )
        print(f"seed {seed}  " + "  ".join(map(_told, found[-1].items())), flush=True)
    leads = [each["hone"]["worth"] - each["trl"]["worth"] for each in found]
    lead = statistics.fmean(leads)
    error = statistics.stdev(leads) / len(leads) ** 0.5 if len(leads) > 1 else float("nan")
    print(f"hone ahead of trl by {lead:.3f} ± {error:.3f} (one standard error over seeds)")
    goal = {"value": round(lead, 4), "target": 0.0, "met": lead >= 0}
    results = {"samples": options.samples, "seeds": found, "lead": lead, "error": error}
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "ppo truth", "device": device, "results": results, "targets": {"true reward": goal}}))


def _told(side: tuple[str, dict[str, float]]) -> str:
    name, run = side
    return f"{name} {run['worth']:.3f} ± {run['error']:.3f} (KL {run['kl']:.2f}, {run['length']:.1f} tokens)"


def report(runs: dict[str, list[dict[str, Any]]], ppo: ppo_work.PPOWork, work: reference.Work, threads: int) -> None:
    """The table for a person and the line for a program; the first step of each run is not timed."""
    results: dict[str, Any] = {"parameters": work.parameters, "answers_per_step": ppo.rollout}
    for side, found in runs.items():
        rates = {
            clock: sorted(ppo.rollout * len(run[clock][1:]) / sum(run[clock][1:]) for run in found)
            for clock in ("seconds", "cpu_seconds")
        }
        results[side] = {
            "per_second": statistics.median(rates["seconds"]),
            "per_cpu_second": statistics.median(rates["cpu_seconds"]),
            "spread": [rates["cpu_seconds"][0], rates["cpu_seconds"][-1]],
            "peak_mb": statistics.median(run["peak_mb"] for run in found),
            "first_score": statistics.fmean(run["scores"][0] for run in found),
            "last_score": statistics.fmean(run["scores"][-1] for run in found),
        }
        each = results[side]
        print(
            f"{side:5} {each['per_second']:7.3f} answers/s  {each['per_cpu_second']:7.3f} a processor second "
            f"[{each['spread'][0]:.3f}, {each['spread'][1]:.3f}]  {each['peak_mb']:6.0f} MB  "
            f"score {each['first_score']:.3f} to {each['last_score']:.3f}"
        )
    hone, trl = results["hone"], results["trl"]
    faster, memory = hone["per_cpu_second"] / trl["per_cpu_second"], hone["peak_mb"] / trl["peak_mb"]
    print(f"hone × {faster:.2f} answers a processor second, × {memory:.2f} the memory")
    low = lowest(work, ppo, statistics.fmean(hone_lengths(runs)), threads)
    results["floor"] = low | {"of_floor": {side: results[side]["per_second"] / low["rate"] for side in runs}}
    print(
        f"floor {low['rate']:.3f} answers/s at {low['gigaflops']:.1f} GFLOP/s: "
        + ", ".join(f"{side} at {share:.0%}" for side, share in results["floor"]["of_floor"].items())
    )
    targets = {
        "faster": {"value": round(faster, 3), "target": FASTER, "met": faster >= FASTER},
        "memory": {"value": round(memory, 3), "target": MEMORY, "met": memory <= MEMORY},
    }
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "ppo", "device": device, "results": results, "targets": targets}))


if __name__ == "__main__":
    main()
