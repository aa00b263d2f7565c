"""How the judging page feels in a real Chromium: python bench/judging.py [--judgements 120].

One annotator works on `manage.py serve`, in processes of its own and on a new SQLite file. Measured in the page itself:
the time from a keystroke that submits until the next item is painted, with a second of reading before each and as fast
as the page takes keys; when a cold page is readable; what each visit and each judgement costs on the wire; and with
responses of 50 kB of markdown, tables, code and Hebrew the longest task that blocked the page.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from labeling import hone, texts
from labeling.browser import Visit, chromium
from labeling.loop import percentiles

VISITS = 7  # cold ones, each in a browser profile of its own
LONG, LONG_ITEMS = 50_000, 24  # p95 is then the second slowest of them, not the slowest
READING, HURRY = 1.0, 0.0  # seconds before a judgement, beside the quarter in which the page takes no keys
TARGETS = {  # what the page must do, and where its figure is
    "next_p95_ms": (100, ("usual", "reading", "next_ms", "p95")),
    "next_p95_hurry_ms": (100, ("usual", "hurry", "next_ms", "p95")),
    "cold_readable_s": (0.6, ("cold", "readable_s")),
    "cold_kb": (200, ("cold", "kb")),
    "second_visit_kb": (10, ("cold", "second_visit_kb")),
    "judgement_kb": (25, ("usual", "reading", "kb_each")),
    "long_next_p95_ms": (100, ("long", "next_ms", "p95")),
    "long_scroll_task_ms": (50, ("long", "scroll_task_ms")),
    "long_highlight_task_ms": (50, ("long", "highlight_task_ms")),
}


def main() -> None:
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        place = hone.Hone(folder, None)
        half = asked.judgements // 2
        place.import_file("usual", written(Path(folder), "usual", asked.judgements + VISITS + 8), 0)
        place.import_file("long", written(Path(folder), "long", LONG_ITEMS + 4), 0)
        keys = place.sessions(["usual", "long"])
        with place.served(1, 8) as (port, _), chromium() as browser:
            origin = f"http://127.0.0.1:{port}"
            Visit(browser, origin, keys["long"], "usual").close()  # what the server does once is not the page's
            say("served")
            results = {"cold": cold(browser, origin, keys["usual"])}
            say("cold visits done")
            results["usual"] = usual(Visit(browser, origin, keys["usual"], "usual"), half, asked.judgements - half)
            say("usual answers judged")
            version = browser.version
            results["long"] = long(Visit(browser, origin, keys["long"], "long"))
    table(results)
    device = f"{platform.machine()}, {os.cpu_count()} cores, Chromium {version}"
    print(json.dumps({"bench": "judging", "device": device, "results": results, "targets": targets(results)}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgements", type=int, default=120, help="half of them after reading, half in a hurry")
    return parser.parse_args()


def written(folder: Path, name: str, number: int) -> Path:
    """A file of `number` pairs to import."""
    path = folder / f"{name}.jsonl"
    with path.open("w") as out:
        for n in range(number):
            pair = texts.long_pair(n, LONG) if name == "long" else [texts.usual(n, letter) for letter in "AB"]
            out.write(
                json.dumps({"id": f"q-{n}", "prompt": f"Question {n}: which is heavier?", "responses": pair}) + "\n"
            )
    return path


def cold(browser: Any, origin: str, session: str) -> dict[str, Any]:
    """The middle of several first visits, and of what a second visit in the same profile brings over the wire."""
    readable, kb, again = [], [], []
    for _ in range(VISITS):
        visit = Visit(browser, origin, session, "usual")
        readable.append(visit.readable_s())
        kb.append(visit.kb())
        visit.open()
        again.append(visit.kb())
        visit.close()
    return {
        "readable_s": round(statistics.median(readable), 3),
        "readable_slowest_s": round(max(readable), 3),
        "kb": round(statistics.median(kb), 1),
        "second_visit_kb": round(statistics.median(again), 1),
    }


def usual(visit: Visit, reading: int, hurry: int) -> dict[str, Any]:
    """Judgements of short responses, one key each."""
    found = {}
    for name, number, pause in (("reading", reading, READING), ("hurry", hurry, HURRY)):
        visit.kb()
        for n in range(number):
            visit.judge("1234567"[n % 7], pause)
        next_ms = visit.take("next")
        visit.settle()
        found[name] = {
            "judgements": len(next_ms),
            "next_ms": percentiles(next_ms),
            "kb_each": round(visit.kb() / number, 1),
            "longest_task_ms": round(max(visit.take("tasks"), default=0)),
            "ahead_ms": percentiles(visit.take("ahead")),
        }
    visit.close()
    return found


def long(visit: Visit) -> dict[str, Any]:
    """Pairs of 50 kB: shown, scrolled to their ends, marked, switched to raw text and back, and judged."""
    readable = visit.readable_s()
    shown = max(visit.take("tasks"), default=0)
    steps: dict[str, float] = {}
    for name, act in (
        ("scroll", visit.scroll),
        ("raw", lambda: visit.press("m", "m")),
        ("differences", lambda: visit.press("d", "d")),
        ("highlight", lambda: visit.press("h", "ArrowRight", "1")),
    ):
        act()
        visit.settle()
        steps[f"{name}_task_ms"] = round(max(visit.take("tasks"), default=0))
    visit.take("next")
    for n in range(LONG_ITEMS):
        visit.judge("17"[n % 2], 3.0)
    return {
        "readable_s": round(readable, 3),
        "show_task_ms": round(shown),
        **steps,
        "next_ms": percentiles(visit.take("next")),
        "next_task_ms": round(max(visit.take("tasks"), default=0)),
        "ahead_ms": percentiles(visit.take("ahead")),
    }


def table(results: dict[str, Any]) -> None:
    """The table for a person."""
    for name, (wanted, _) in TARGETS.items():
        told = targets(results)[name]
        print(f"{name:24}{told['value']:>10}{wanted:>10}  {'met' if told['met'] else 'MISSED'}")
    for name, figures in results.items():
        print(name, json.dumps(figures))


def targets(results: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, (wanted, path) in TARGETS.items():
        value: Any = results
        for part in path:
            value = value[part]
        found[name] = {"value": value, "target": wanted, "met": value is not None and value <= wanted}
    return found


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if not shutil.which("chromium"):
        sys.exit("No chromium here: install the package chromium.")
    main()
