"""The engine beside TRL's own trainers on the same rows: python bench/training.py [--quick]

Every run is a process of its own, and the two sides take turns step by step, so that a machine that slows down slows
both. The loss curves of both are compared as well, so that what is timed is the same arithmetic. The floor is that
arithmetic, without padding and without anything twice, over the rate at which this machine multiplies matrices.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise this file itself would be `training`

from bench.parts import floor, reference  # noqa: E402
from bench.parts.turns import Run, built, device, in_turns, spread  # noqa: E402

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
        rows=options.batch * options.steps,
        hidden=options.hidden,
        layers=options.layers,
        vocabulary=options.vocabulary,
    )
    results: dict[str, Any] = {"parameters": work.parameters, "batch": work.batch}
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        folder = Path(name)
        built(reference.build, folder, work)
        for method in options.methods:
            for threads in options.threads:
                found = compared(folder, method, threads, work, options)
                results[f"{method} {threads}"] = found
                print_row(method, threads, found)
    print(json.dumps({"bench": "training", "device": device(), "results": results, "targets": targets(results)}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two threads, four steps of four rows")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--threads", nargs="+", type=int)
    parser.add_argument("--batch", type=int, default=8, help="rows in one update")
    parser.add_argument("--steps", type=int, default=20, help="updates; all but the first are timed")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--tuned", action="store_true", help="time TRL without gradient checkpointing as well")
    options = parser.parse_args()
    if options.quick:
        options.batch, options.steps = 4, 4
    options.threads = options.threads or ([2] if options.quick else [1, 2])
    return options


def compared(folder: Path, method: str, threads: int, work: reference.Work, options: argparse.Namespace) -> dict:
    """Rows a second of both sides by turns, peak memory and the floor."""
    forget(folder)  # references are computed anew, before the first step
    sides: dict[str, tuple[str, dict[str, Any]]] = {"hone": ("hone_run", {}), "trl": ("trl_run", {})}
    if options.tuned:
        sides["trl tuned"] = ("trl_run", {"checkpointing": False})
    shape = [round(work.batch * (work.prompt + work.answer)), work.hidden, work.feed_forward]
    sides["floor"] = ("matmul_run", {"shape": shape})
    runs = []
    for name, (module, more) in sides.items():
        number = f"{method}-{threads}-{name.replace(' ', '-')}"
        order = {"work": str(folder), "method": method, "number": number, "threads": threads, "steps": options.steps}
        runs.append(Run(ROOT, module, order | more, folder / f"{number}.json"))
    found = dict(zip(sides, in_turns(runs), strict=True))
    return summed_up(found, method, work)


def summed_up(runs: dict[str, dict[str, Any]], method: str, work: reference.Work) -> dict[str, Any]:
    """What the steps of all sides say, each step a turn of its own; the first is not timed."""
    speeds = runs.pop("floor")["operations_per_second"][UNTIMED:]
    hone, trl = runs["hone"], runs["trl"]
    timed = {name: {clock: run[clock][UNTIMED:] for clock in ("seconds", "cpu_seconds")} for name, run in runs.items()}
    rates = {name: spread([work.batch / each for each in run["seconds"]]) for name, run in timed.items()}
    others = [name for name in runs if name != "hone"]
    found: dict[str, Any] = {
        "rates": rates,
        "faster": {name: spread(ratios(timed[name], timed["hone"], "seconds")) for name in others},
        "less_cpu": {name: spread(ratios(timed[name], timed["hone"], "cpu_seconds")) for name in others},
        "rows_per_cpu_second": {
            name: work.batch / statistics.median(run["cpu_seconds"]) for name, run in timed.items()
        },
        "peak_mb": {name: run["peak_mb"] for name, run in runs.items()},
        "imports_mb": {name: run["imports_mb"] for name, run in runs.items()},
        "loss_difference": max(abs(a - b) for a, b in zip(hone["losses"], trl["losses"], strict=True)),
        "losses": hone["losses"],
    }
    if method == "dpo":
        reference_seconds = hone["reference"][0] / work.rows * work.batch  # of as many rows as a step has
        first = [theirs / (ours + reference_seconds) for ours, theirs in paired(timed, "trl")]
        rate = work.batch / (statistics.median(timed["hone"]["seconds"]) + reference_seconds)
        found["first_pass"] = {"rate": rate, "faster": spread(first)}
    rows = reference.texts(work)[UNTIMED * work.batch :]
    operations = floor.per_row(method, work, rows)
    floors = [speed / operations for speed in speeds]  # rows a second, at each turn
    found["floor"] = {"rate": statistics.median(floors), "gigaflops": statistics.median(speeds) / 1e9}
    found["floor"]["gigaflop_per_row"] = operations / 1e9
    found["of_floor"] = {
        name: statistics.median(
            work.batch / seconds / limit for seconds, limit in zip(run["seconds"], floors, strict=True)
        )
        for name, run in timed.items()
    }
    return found


def ratios(theirs: dict[str, list[float]], ours: dict[str, list[float]], clock: str) -> list[float]:
    return [a / b for a, b in zip(theirs[clock], ours[clock], strict=True)]


def paired(timed: dict[str, dict[str, list[float]]], name: str) -> list[tuple[float, float]]:
    return list(zip(timed["hone"]["seconds"], timed[name]["seconds"], strict=True))


def forget(folder: Path) -> None:
    for path in (folder / "cache").rglob("*.jsonl"):
        path.unlink()


def print_row(method: str, threads: int, found: dict[str, Any]) -> None:
    hone, trl, faster = found["rates"]["hone"], found["rates"]["trl"], found["faster"]["trl"]
    first = found.get("first_pass")
    print(
        f"{method:7}{threads} thread{'s' if threads > 1 else ' '}  "
        f"hone {hone['median']:6.2f}/s [{hone['low']:.2f}, {hone['high']:.2f}]  "
        f"trl {trl['median']:6.2f}/s [{trl['low']:.2f}, {trl['high']:.2f}]  "
        + "  ".join(f"× {each['median']:.2f} {name}" for name, each in found["faster"].items())
        + f" [{faster['low']:.2f}, {faster['high']:.2f}]"
        + f" (by processor time × {found['less_cpu']['trl']['median']:.2f})"
        + (f"  first pass × {first['faster']['median']:.2f}" if first else "")
        + f"  memory {found['peak_mb']['hone']:.0f} of {found['peak_mb']['trl']:.0f} MB"
        f"  floor {found['floor']['rate']:.2f}/s, {found['floor']['gigaflops']:.1f} GFLOP/s"
        f" (hone {found['of_floor']['hone']:.0%}, trl {found['of_floor']['trl']:.0%})"
        f"  losses of {len(found['losses'])} steps differ by {found['loss_difference']:.1e}",
        flush=True,
    )


def targets(results: dict[str, Any]) -> dict[str, Any]:
    """Each promise and what was measured."""
    found = {}
    for name, each in measured(results):
        method = name.split()[0]
        speed, memory = each["faster"]["trl"]["median"], each["peak_mb"]["hone"] / each["peak_mb"]["trl"]
        found[f"{name} faster"] = target(speed, SPEED[method], speed >= SPEED[method])
        found[f"{name} memory"] = target(memory, MEMORY, memory <= MEMORY)
        if first := each.get("first_pass"):
            wanted, median = SPEED["dpo first"], first["faster"]["median"]
            found[f"{name} first pass"] = target(median, wanted, median >= wanted)
        found[f"{name} same loss"] = target(each["loss_difference"], SAME_LOSS, each["loss_difference"] <= SAME_LOSS)
    return found


def measured(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, each) for name, each in results.items() if isinstance(each, dict))


def target(value: float, wanted: float, met: bool) -> dict[str, Any]:
    return {"value": float(f"{value:.4g}"), "target": wanted, "met": met}


if __name__ == "__main__":
    main()
