"""The demo from an empty folder: does it learn, how well, and how long does it take? python bench/demo.py"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 720
CLOSE_TO_CEILING = 0.03
MOST_KL = 15.0  # nats


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        os.environ |= {"HONE_DATA": folder, "DJANGO_SETTINGS_MODULE": "config.settings"}
        first, seconds = played()
        again = played()[1]
        utilities, average_ceiling = kept_by_the_demo()
    report(first, seconds, again, utilities, average_ceiling)


def played() -> tuple[dict[str, Any], float]:
    """The JSON object that the demo ends with, and the seconds it took."""
    began = time.monotonic()
    command = [sys.executable, "manage.py", "demo", "--no-serve"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - began


def kept_by_the_demo() -> tuple[dict[str, dict[str, float]], float]:
    """What its JSON has no place for: the intervals of the mean hidden utilities, and the average noise ceiling."""
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from rlhf.demo.summary import NAMES, models_of
    from rlhf.models import Round

    round = Round.objects.get(number=1)
    utilities = {name: model.figures["utility"] for name, model in zip(NAMES, models_of(round), strict=True)}
    return utilities, round.reward_model.figures["average_ceiling"]


def report(
    first: dict[str, Any],
    seconds: float,
    again: float,
    utilities: dict[str, dict[str, float]],
    average_ceiling: float,
) -> None:
    """The table for a person and the line for a program."""
    print(f"{'model':6}{'preferred':>22}{'true utility':>24}{'KL':>8}{'tokens':>8}")
    for name, truth in utilities.items():
        row = first[name]
        share = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**row["preferred"])
        worth = "{value:.2f} [{low:.2f}, {high:.2f}]".format(**truth)
        print(f"{name:6}{share:>22}{worth:>24}{row['kl']:>8.2f}{row['length']:>8.1f}")
    accuracy = first["reward_accuracy"]
    gap, average_gap = (best - accuracy["value"] for best in (accuracy["ceiling"], average_ceiling))
    rivals = max(utilities["base"]["high"], utilities["sft"]["high"])
    results = first | {"again_seconds": round(again, 1), "true_utility": utilities, "average_ceiling": average_ceiling}
    targets = {
        "seconds": target(seconds, MOST_SECONDS, seconds <= MOST_SECONDS),
        "again_seconds": target(again, 60, again <= 60),
        "reward_below_ceiling": target(gap, CLOSE_TO_CEILING, gap <= CLOSE_TO_CEILING),
        "reward_below_average_ceiling": target(average_gap, CLOSE_TO_CEILING, average_gap <= CLOSE_TO_CEILING),
        "dpo_utility_low_above_rivals": target(utilities["dpo"]["low"], rivals, utilities["dpo"]["low"] > rivals),
        "ppo_utility_low_above_rivals": target(utilities["ppo"]["low"], rivals, utilities["ppo"]["low"] > rivals),
        "kl": target(max(first["dpo"]["kl"], first["ppo"]["kl"]), MOST_KL, first["ppo"]["kl"] <= MOST_KL),
    }
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "demo", "device": device, "results": results, "targets": targets}))


def target(value: float, wanted: float, met: bool) -> dict[str, Any]:
    return {"value": round(value, 4), "target": round(wanted, 4), "met": met}


if __name__ == "__main__":
    main()
