"""Does it learn as well as it can? python bench/learning.py --data VAR [--work FOLDER] [--minutes 5]

VAR is the data folder of a finished demo (`manage.py demo`), whose judgements come from a hidden true utility with
known noise; with `--stories` it is stories260k (`../shared/models`), judged in the same way. Reward models are held
against what that noise allows, PPO against best-of-n and TRL's GRPO and RLOO at equal numbers of answers, DPO against
TRL's. Every run is a process of its own and its figures stay in the work folder, so that a bench which was stopped,
or ran out of `--minutes`, goes on where it was; figures of other settings are taken anew. `--set` changes the settings
of PPO from those of the demo, to see what moves its frontier; GRPO and RLOO get those of them that they know.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise bench/training.py would be `training`

from bench.parts import frontier_plot  # noqa: E402
from training.runfile import with_overrides  # noqa: E402

STORIES = ROOT.parent / "shared" / "models" / "stories260k"
# Two-sided 95 % of Student's t by the number of seeds.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
CLOSE_TO_CEILING = 0.02
MEASURED = ("utility", "kl", "bound", "score")
PLACES = ("step", "beta", "n")  # what tells the points of a curve apart: the first of these that they have
FIRST_SEED = 100  # none that the demo itself was run with
Order = dict[str, Any]


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        work = options.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        if options.stories:
            options.data = stories(options, work / "stories")
        units = list(plan(options))
        began = time.monotonic()

        def one(unit: str, module: str, order: Order) -> bool:
            """Whether the figures of this run are there; none begins past `--minutes`."""
            out = work / f"{unit}.json"
            if out.is_file() and json.loads(out.read_text()).get("order") == order:
                return True
            if options.minutes and time.monotonic() - began > 60 * options.minutes:
                return False
            folder = tempfile.mkdtemp(prefix=f"{unit}.", dir=work)
            run(module, order | {"folder": f"{folder}/run", "out": str(out)})
            out.write_text(json.dumps(json.loads(out.read_text()) | {"order": order}))
            shutil.rmtree(folder)
            print(f"{unit:18}{time.monotonic() - began:8.0f} s", flush=True)
            return True

        pool = ThreadPoolExecutor(options.jobs)
        try:
            done = list(pool.map(lambda unit: one(*unit), units))
        finally:
            pool.shutdown(cancel_futures=True)  # what failed is said at once, not after all others
        if not all(done):
            raise SystemExit(f"Out of time; what is done stays in {work}.")
        found = {unit: json.loads((work / f"{unit}.json").read_text()) for unit, _, _ in units}
    report(found, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HONE_DATA", "var")))
    parser.add_argument("--stories", nargs="?", type=Path, const=STORIES, help="learn in stories260k, not in a demo")
    parser.add_argument("--world", type=int, default=0, help="another world of stories; needs a work folder of its own")
    parser.add_argument("--work", type=Path, help="where figures are kept between calls")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no run after so long")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--studies", nargs="+", choices=("reward", "frontier", "dpo"), default=("reward", "frontier", "dpo")
    )
    parser.add_argument("--steps", type=int, default=24, help="batches of answers that a policy learns from")
    parser.add_argument("--every", type=int, default=6, help="batches between two looks at a policy")
    parser.add_argument("--pairs", type=int, default=1600, help="pairs that DPO learns from")
    parser.add_argument("--prompts", type=int, default=200, help="held-out prompts of each look")
    parser.add_argument("--most", type=int, default=64, help="answers to each prompt for best-of-n")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--rivals", nargs="*", choices=("grpo", "rloo"), default=("grpo", "rloo"))
    parser.add_argument(
        "--set", nargs="*", default=(), metavar="KEY=VALUE", help="PPO's settings: ppo_epochs=4 beta=0.1"
    )
    parser.add_argument("--plot", type=Path, help="write the frontier as an SVG, such as docs/frontier.svg")
    options = parser.parse_args()
    if options.seeds != 1 and options.seeds not in STUDENT:
        parser.error(f"--seeds must be one of 1, {', '.join(map(str, STUDENT))}")
    return options


def stories(options: argparse.Namespace, folder: Path) -> Path:
    """The data folder of that world, made where it is not there yet; the bench ends where the model is not."""
    model = options.stories
    if not (model / "model.safetensors").is_file():
        print(f"Skipped: {model} holds no model.")
        print(json.dumps({"bench": "learning", "device": platform.machine(), "results": {}, "targets": {}}))
        raise SystemExit(0)
    if not (folder / "world.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        order = {"model": str(model.resolve()), "folder": str(folder.resolve()), "threads": options.threads}
        run("learning_stories", order | {"world": options.world, "out": "stories"})
    return folder


def plan(options: argparse.Namespace) -> Iterator[tuple[str, str, Order]]:
    """(name, module, order) of every run, one seed after another so that an early stop leaves whole seeds."""
    changed = with_overrides({"params": {}}, [f"params.{each}" for each in options.set])["params"]
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        common = {"data": str(options.data.resolve()), "seed": seed, "threads": options.threads}
        common |= {"prompts": options.prompts}
        if "reward" in options.studies:
            yield f"reward-{seed}", "learning_hone", common | {"study": "reward"}
        if "frontier" in options.studies:
            looks = common | {"steps": options.steps, "every": options.every}
            yield f"ppo-{seed}", "learning_hone", looks | {"study": "ppo", "params": changed}
            yield f"best_of_n-{seed}", "learning_best", common | {"most": options.most}
            for method in options.rivals:
                order = looks | {"study": "online", "method": method, "params": changed}
                yield f"{method}-{seed}", "learning_trl", order
        if "dpo" in options.studies:
            order = common | {"study": "dpo", "steps": options.pairs // 16}
            yield f"dpo-{seed}", "learning_hone", order
            yield f"trl_dpo-{seed}", "learning_trl", order


def run(module: str, order: Order) -> None:
    command = [sys.executable, "-W", "ignore", "-m", f"bench.parts.{module}", json.dumps(order)]
    environment = {key: value for key, value in os.environ.items() if key != "HONE_DATA"}
    environment |= {"OMP_NUM_THREADS": str(order["threads"])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(order['out']).stem} failed:\n{done.stdout[-1500:]}\n{done.stderr[-4000:]}")


def report(found: dict[str, Any], options: argparse.Namespace) -> None:
    """The table for a person and the line for a program."""
    groups: dict[str, list[Any]] = {}
    for unit, each in found.items():
        groups.setdefault(unit.rpartition("-")[0], []).append(each)
    results: dict[str, Any] = {}
    targets: dict[str, Any] = {}
    if "reward" in groups:
        results["reward"] = {key: interval([row[key] for row in groups["reward"]]) for key in ("expected", "ceiling")}
        results["reward"]["counted"] = interval([row["counted"]["value"] for row in groups["reward"]])
        gap = results["reward"]["ceiling"]["value"] - results["reward"]["expected"]["value"]
        targets["reward below ceiling"] = target(gap, CLOSE_TO_CEILING, gap <= CLOSE_TO_CEILING)
    if "ppo" in groups:
        curves = {name: curve(groups[name]) for name in ("ppo", "best_of_n", *options.rivals)}
        curves["optimum"] = curve([{"points": each["optimum"]} for each in groups["best_of_n"]])
        results["frontier"] = curves
        last = curves["ppo"][-1]
        for rival in options.rivals:
            other = curves[rival][-1]["utility"]["value"]
            targets[f"ppo beside {rival}"] = target(last["utility"]["value"], other, last["utility"]["value"] >= other)
        reach = at_kl(curves["best_of_n"], last["kl"]["value"])
        targets["ppo beside best of n at its KL"] = target(
            last["utility"]["value"], reach, last["utility"]["value"] >= reach
        )
        if options.plot:
            options.plot.write_text(picture(curves))
    if "dpo" in groups:
        results |= {name: ends(groups[name]) for name in ("dpo", "trl_dpo")}
        ours, theirs = (results[name]["utility"]["value"] for name in ("dpo", "trl_dpo"))
        targets["dpo beside trl"] = target(ours, theirs, ours >= theirs)
    for name, row in rows(results):
        print(f"{name:22}" + "  ".join(f"{key} {shown(value)}" for key, value in row.items()))
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "learning", "device": device, "results": results, "targets": targets}))


def rows(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, figures) of each line of the table."""
    for name, each in results.items():
        if name != "frontier":
            yield name, each
            continue
        for method, points in each.items():
            for point in points:
                place = next(key for key in PLACES if key in point)
                yield f"{method} {place}={point[place]}", {key: point[key] for key in MEASURED if key in point}


def curve(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points of several seeds, place by place."""
    found = []
    for points in zip(*(run["points"] for run in runs), strict=False):  # an optimum may end sooner
        place = next(key for key in PLACES if key in points[0])
        found.append({place: points[0][place]} | ends(list(points)))
    return found


def ends(points: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: interval([point[key] for point in points]) for key in MEASURED if all(key in each for each in points)}


def interval(values: list[float]) -> dict[str, float]:
    """Mean of the seeds with the 95 % interval of Student's t; one seed has none, for it says nothing of the others."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return {"value": mean}
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return {"value": mean, "low": mean - half, "high": mean + half}


def at_kl(points: list[dict[str, Any]], kl: float) -> float:
    """The utility of a curve at a KL, straight between its points and flat past its end."""
    known = [(point["kl"]["value"], point["utility"]["value"]) for point in points]
    for (left, low), (right, high) in itertools.pairwise(known):
        if left <= kl <= right:
            return low + (high - low) * (kl - left) / (right - left)
    return known[-1][1]


def picture(curves: dict[str, list[dict[str, Any]]]) -> str:
    names = {"ppo": "PPO", "best_of_n": "best of n", "grpo": "GRPO (TRL)", "rloo": "RLOO (TRL)"}
    names["optimum"] = "best possible"
    drawn = {}
    for name, points in curves.items():
        heights = [{"low": p["utility"]["value"], "high": p["utility"]["value"]} | p["utility"] for p in points]
        drawn[names[name]] = [
            (p["kl"]["value"], up["value"], up["low"], up["high"]) for p, up in zip(points, heights, strict=True)
        ]
    return frontier_plot.draw(drawn, across="KL to the model it starts from, nats", up="true utility")


def shown(value: dict[str, float]) -> str:
    return f"{value['value']:.3f}" + (" [{low:.3f}, {high:.3f}]".format(**value) if "low" in value else "")


def target(value: float, wanted: float, met: bool) -> dict[str, Any]:
    return {"value": round(value, 4), "target": round(wanted, 4), "met": met}


if __name__ == "__main__":
    main()
