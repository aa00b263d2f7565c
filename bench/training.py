"""The engine beside TRL's own trainers on the same rows: python bench/training.py [--quick]

Every run is a process of its own; the two sides take turns. The loss curves of both are compared first, so that
what is timed is the same arithmetic. The floor is that arithmetic, without padding and without anything twice, over
the rate at which this machine multiplies matrices of these shapes.
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise this file itself would be `training`

from bench.parts import floor, reference  # noqa: E402

METHODS = ("sft", "reward", "dpo")
SPEED = {"sft": 2.2, "reward": 3.0, "dpo first": 3.5, "dpo": 6.0}
MEMORY = 0.5
SAME_LOSS = 1e-4
UNTIMED = 1  # steps at the start of a run, in which memory is asked for the first time


def main() -> None:
    options = arguments()
    work = replace(
        reference.Work(),
        batch=options.batch,
        rows=options.batch * max(options.steps, options.parity),
        hidden=options.hidden,
        layers=options.layers,
        vocabulary=options.vocabulary,
    )
    results: dict[str, Any] = {"parameters": work.parameters, "batch": work.batch}
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        folder = Path(name)
        built(reference.build, folder, work)
        side = Side(folder)
        for method in options.methods:
            if options.parity > options.steps:
                results[f"{method} parity"] = parity(side, method, options)
            for threads in options.threads:
                found = compared(side, method, threads, work, options)
                results[f"{method} {threads}"] = found
                print_row(method, threads, found)
    print(json.dumps({"bench": "training", "device": device(), "results": results, "targets": targets(results)}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two threads, one round, few steps: under three minutes")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--threads", nargs="+", type=int)
    parser.add_argument("--batch", type=int, default=8, help="rows in one update")
    parser.add_argument("--steps", type=int, default=6, help="updates of one timed run")
    parser.add_argument("--parity", type=int, default=20, help="updates over which the loss curves are compared")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each side")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tuned", action="store_true", help="time TRL without gradient checkpointing as well")
    options = parser.parse_args()
    if options.quick:
        options.batch, options.steps, options.parity, options.rounds = 4, 4, 4, 1
    options.threads = options.threads or ([2] if options.quick else [1, 2])
    return options


def built(build: Callable[..., None], *args: Any) -> None:
    """Run `build` in a process of its own: a run inherits the peak memory of whoever starts it."""
    process = multiprocessing.get_context("spawn").Process(target=build, args=args)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("The reference work could not be built.")


class Side:
    """Starts runs of either side and reads what they found."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def run(self, module: str, method: str, threads: int, steps: int, **more: Any) -> dict[str, Any]:
        self.number += 1
        out = self.folder / f"{self.number}.json"
        order = {"work": str(self.folder), "method": method, "number": self.number, "threads": threads} | more
        order |= {"steps": steps, "out": str(out)}
        command = [sys.executable, "-W", "ignore", "-m", f"bench.parts.{module}", json.dumps(order)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{module} {method} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return json.loads(out.read_text())


def parity(side: Side, method: str, options: argparse.Namespace) -> float:
    """The largest difference between the two loss curves over the first steps, in fp32."""
    runs = [side.run(module, method, options.threads[-1], options.parity) for module in ("hone_run", "trl_run")]
    return difference(*(run["losses"][: options.parity] for run in runs))


def compared(side: Side, method: str, threads: int, work: reference.Work, options: argparse.Namespace) -> dict:
    """Rows a second of both sides, peak memory and the floor."""
    sides = {"hone": ("hone_run", {}), "trl": ("trl_run", {})}
    if options.tuned:
        sides["trl tuned"] = ("trl_run", {"checkpointing": False})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    firsts = []
    for _ in range(options.rounds):
        for name, (module, more) in sides.items():
            if name == "hone" and method == "dpo":
                forget(side.folder)  # references are computed anew in the first pass and known in the second
                firsts.append(side.run(module, method, threads, options.steps))
            runs[name].append(side.run(module, method, threads, options.steps, **more))
    rates = {name: sorted(rate(run, work.batch) for run in found) for name, found in runs.items()}
    found: dict[str, Any] = {
        "rates": {name: spread(values) for name, values in rates.items()},
        "peak_mb": {name: statistics.median(run["peak_mb"] for run in each) for name, each in runs.items()},
        "imports_mb": {name: statistics.median(run["imports_mb"] for run in each) for name, each in runs.items()},
        "loss_difference": difference(runs["hone"][0]["losses"], runs["trl"][0]["losses"]),
        "losses": runs["hone"][0]["losses"][:3],
    }
    middle = {name: statistics.median(values) for name, values in rates.items()}
    found["faster"] = {name: middle["hone"] / value for name, value in middle.items() if name != "hone"}
    cpu = {name: statistics.median(rate(run, work.batch, clock="cpu_seconds") for run in runs[name]) for name in runs}
    found["less_cpu"] = {name: cpu["hone"] / value for name, value in cpu.items() if name != "hone"}
    found["rows_per_cpu_second"] = cpu
    if firsts:
        first = statistics.median(first_rate(run, work) for run in firsts)
        found["first_pass"] = {"rate": first, "faster": first / middle["trl"]}
        found["peak_mb"]["hone"] = max(found["peak_mb"]["hone"], *(run["peak_mb"] for run in firsts))
    timed = slice(UNTIMED * work.batch, options.steps * work.batch)
    rows = reference.texts(work)[timed]
    found["floor"] = floor.rate(method, work, rows, threads)
    found["of_floor"] = middle["hone"] / found["floor"]["rate"]
    return found


def rate(run: dict[str, Any], batch: int, *, clock: str = "seconds") -> float:
    """Rows a second, leaving out the first step."""
    seconds = run[clock][UNTIMED:]
    return batch * len(seconds) / sum(seconds)


def first_rate(run: dict[str, Any], work: reference.Work) -> float:
    """The same when the reference of every row has to be computed as well."""
    return 1 / (1 / rate(run, work.batch) + run["reference"][0] / work.rows)


def forget(folder: Path) -> None:
    for path in (folder / "cache").rglob("*.jsonl"):
        path.unlink()


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": values[0], "high": values[-1]}


def difference(ours: list[float], theirs: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def print_row(method: str, threads: int, found: dict[str, Any]) -> None:
    hone, trl = found["rates"]["hone"], found["rates"]["trl"]
    first = found.get("first_pass")
    print(
        f"{method:7}{threads} thread{'s' if threads > 1 else ' '}  "
        f"hone {hone['median']:6.2f}/s [{hone['low']:.2f}, {hone['high']:.2f}]  "
        f"trl {trl['median']:6.2f}/s [{trl['low']:.2f}, {trl['high']:.2f}]  "
        + "  ".join(f"× {value:.2f} {name}" for name, value in found["faster"].items())
        + f" (by processor time × {found['less_cpu']['trl']:.2f})"
        + (f"  first pass × {first['faster']:.2f}" if first else "")
        + f"  memory {found['peak_mb']['hone']:.0f} of {found['peak_mb']['trl']:.0f} MB"
        f"  floor {found['floor']['rate']:.2f}/s ({found['of_floor']:.0%})"
        f"  losses differ by {found['loss_difference']:.1e}",
        flush=True,
    )


def targets(results: dict[str, Any]) -> dict[str, Any]:
    """Each promise and what was measured."""
    found = {}
    for name, each in measured(results):
        method = name.split()[0]
        speed, memory = each["faster"]["trl"], each["peak_mb"]["hone"] / each["peak_mb"]["trl"]
        found[f"{name} faster"] = target(speed, SPEED[method], speed >= SPEED[method])
        found[f"{name} memory"] = target(memory, MEMORY, memory <= MEMORY)
        if first := each.get("first_pass"):
            wanted = SPEED["dpo first"]
            found[f"{name} first pass"] = target(first["faster"], wanted, first["faster"] >= wanted)
        differ = max(each["loss_difference"], results.get(f"{method} parity", 0.0))
        found[f"{name} same loss"] = target(differ, SAME_LOSS, differ <= SAME_LOSS)
    return found


def measured(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, each) for name, each in results.items() if isinstance(each, dict))


def target(value: float, wanted: float, met: bool) -> dict[str, Any]:
    return {"value": float(f"{value:.4g}"), "target": wanted, "met": met}


def device() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
