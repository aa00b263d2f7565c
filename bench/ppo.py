"""PPO beside the last one that TRL shipped (trl 1.12.0, installed into bench/.peers): python bench/ppo.py [--quick]

Both answer the same number of prompts with the same model, reward model and adapter shape and learn from them in as
many updates. TRL's value model learns whole, as its own examples have it (--lean: through an adapter, as Hone's does).
Each side is a process of its own and stands still while the other takes a step, of which the first is not timed.
Compared are answers a processor second and peak memory. With --truth the model is small and its reward model learnt
from noisy judgements of a hidden worth; compared is what the answers of both policies are truly worth after equal
samples, over several seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise bench/training.py would be `training`

from bench.parts import floor, ppo_truth, ppo_work, reference  # noqa: E402
from bench.parts.turns import Run, built, device, in_turns, spread  # noqa: E402

PEER = ROOT / "bench" / ".peers" / "trl-1.12.0"
FASTER, MEMORY = 3.0, 0.5
UNTIMED = 1  # steps at the start of a run, in which memory is asked for the first time


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
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        built(ppo_work.build, Path(name), work, ppo)
        runs = side_by_side(Path(name), work, ppo, options)
    report(summed_up(runs, work, ppo))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="of answering and learning; all but the first are timed")
    parser.add_argument("--rollout", type=int, default=8, help="answers of one step; a multiple of 8")
    # 160: the longest of eight answers is then 1.7 times their mean, and 1.8 times among the reference work's lengths.
    parser.add_argument("--longest", type=int, default=160, help="tokens of an answer")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--lean", action="store_true", help="TRL's value learns through an adapter too, not whole")
    parser.add_argument("--truth", action="store_true", help="what answers are worth after equal samples")
    parser.add_argument("--seeds", type=int, default=3, help="of --truth")
    parser.add_argument("--samples", type=int, default=960, help="answers that each side of --truth learns from")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rollout, options.longest = 2, 8, 96
    return options


def install() -> None:
    if not PEER.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEER), "trl==1.12.0"]
        subprocess.run(command, check=True)


def side_by_side(
    folder: Path, work: reference.Work, ppo: ppo_work.PPOWork, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """What both sides found, step by step in turn, and the rate of products of the shape of a minibatch."""
    shape = [round(ppo.minibatch * (work.prompt + expected(work, ppo))), work.hidden, work.feed_forward]
    sides = {"hone": "ppo_hone_run", "trl": "ppo_trl_run", "floor": "matmul_run"}
    runs = []
    for number, module in enumerate(sides.values()):
        order = order_of(folder, number, options) | {"shape": shape}
        runs.append(Run(ROOT, module, order, folder / f"{number}.json"))
    return dict(zip(sides, in_turns(runs), strict=True))


def order_of(folder: Path, number: int, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "work": str(folder), "number": number, "threads": options.threads, "steps": options.steps, "peer": str(PEER),
        "lean": options.lean,
    }  # fmt: skip


def expected(work: reference.Work, ppo: ppo_work.PPOWork) -> float:
    """Tokens of an answer that may end at each of them, cut at the longest."""
    return work.answer * (1 - math.exp(-ppo.longest / work.answer))


def one(folder: Path, module: str, number: int, options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What one run found that nobody takes turns with."""
    out = folder / f"{number}.json"
    order = order_of(folder, number, options) | {"out": str(out)} | more
    command = [sys.executable, "-W", "ignore", "-m", f"bench.parts.{module}", json.dumps(order)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(out.read_text())


def summed_up(runs: dict[str, dict[str, Any]], work: reference.Work, ppo: ppo_work.PPOWork) -> dict[str, Any]:
    """Medians over the timed steps, each a turn of its own, with their middle halves."""
    speeds = runs.pop("floor")["operations_per_second"][UNTIMED:]
    length = statistics.fmean(runs["hone"]["lengths"][UNTIMED:])
    operations = floor.experience(work, work.prompt, length, ppo.epochs)
    floors = [speed / operations for speed in speeds]  # answers a second, at each turn
    found: dict[str, Any] = {
        "parameters": work.parameters,
        "answers_per_step": ppo.rollout,
        "length": length,
        "expected_length": expected(work, ppo),
        "floor": {"rate": statistics.median(floors), "gigaflops": statistics.median(speeds) / 1e9},
    }
    for side, run in runs.items():
        seconds, processor = run["seconds"][UNTIMED:], run["cpu_seconds"][UNTIMED:]
        found[side] = {
            "per_second": spread([ppo.rollout / each for each in seconds]),
            "per_cpu_second": spread([ppo.rollout / each for each in processor]),
            "peak_mb": run["peak_mb"],
            "of_floor": statistics.median(
                ppo.rollout / each / limit for each, limit in zip(seconds, floors, strict=True)
            ),
            "scores": run["scores"],
        }
    for name, clock in (("faster", "seconds"), ("less_cpu", "cpu_seconds")):
        steps = zip(runs["hone"][clock], runs["trl"][clock], strict=True)
        found[name] = spread([theirs / ours for ours, theirs in list(steps)[UNTIMED:]])
    found["memory"] = runs["hone"]["peak_mb"] / runs["trl"]["peak_mb"]
    return found


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
    print(json.dumps({"bench": "ppo truth", "device": device(), "results": results, "targets": {"true reward": goal}}))


def _told(side: tuple[str, dict[str, float]]) -> str:
    name, run = side
    return f"{name} {run['worth']:.3f} ± {run['error']:.3f} (KL {run['kl']:.2f}, {run['length']:.1f} tokens)"


def report(found: dict[str, Any]) -> None:
    """The table for a person and the line for a program."""
    for side in ("hone", "trl"):
        each = found[side]
        wall, processor = each["per_second"], each["per_cpu_second"]
        print(
            f"{side:5} {wall['median']:6.3f} answers/s [{wall['low']:.3f}, {wall['high']:.3f}]  "
            f"{processor['median']:6.3f} a processor second [{processor['low']:.3f}, {processor['high']:.3f}]  "
            f"{each['peak_mb']:6.0f} MB  {each['of_floor']:.0%} of the floor  "
            f"score {each['scores'][0]:.3f} to {each['scores'][-1]:.3f}"
        )
    faster, less = found["faster"], found["less_cpu"]
    print(
        f"hone × {less['median']:.2f} answers a processor second [{less['low']:.2f}, {less['high']:.2f}], "
        f"× {faster['median']:.2f} by the clock, × {found['memory']:.2f} the memory; "
        f"answers of {found['length']:.0f} tokens ({found['expected_length']:.0f} expected); "
        f"floor {found['floor']['rate']:.3f} answers/s at {found['floor']['gigaflops']:.1f} GFLOP/s"
    )
    targets = {
        "faster": {"value": round(less["median"], 3), "target": FASTER, "met": less["median"] >= FASTER},
        "memory": {"value": round(found["memory"], 3), "target": MEMORY, "met": found["memory"] <= MEMORY},
    }
    print(json.dumps({"bench": "ppo", "device": device(), "results": found, "targets": targets}))


if __name__ == "__main__":
    main()
