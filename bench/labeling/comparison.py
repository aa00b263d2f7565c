"""The table of bench/annotation.py and its targets."""

from __future__ import annotations

from typing import Any

from labeling.account import WRONG

# Judgements a second with 20 annotators, and rows a second in and out: what these gave elsewhere.
ELSEWHERE: dict[str, dict[str, dict[str, float]]] = {
    "sqlite": {
        "label_studio": {"20": 2.1, "import": 4000, "export": 610},
        "doccano": {"20": 15.4},
    },
    "postgresql": {"label_studio": {"20": 5.5}},
}
# How many times as fast we are to be.
TIMES = {
    "sqlite": {"label_studio": {"20": 50, "import": 10, "export": 40}, "doccano": {"20": 7}},
    "postgresql": {"label_studio": {"20": 20}},
}
SLOWEST_MS = {"1": 30, "20": 250}
IDLE_MB = 250


def table(results: dict[str, Any]) -> None:
    """The table for a person."""
    head = ("who", "database", "tasks", "people", "per s", "p50", "p95", "p99", *WRONG)
    print(_line(*head))
    for database, found in results.items():
        for size, cells in found["judging"].items():
            for people, cell in cells.items():
                print(_line("hone", database, size, people, *_cell(cell)))
        for peer, theirs in found.get("peers", {}).items():
            for people, cell in theirs["judging"].items():
                print(_line(peer, database, "", people, *_cell(cell)))
    for database, found in results.items():
        for size, done in found["import"].items():
            print(f"hone, {database}: import of {size} at {done['rows_per_s']} rows/s, {done['peak_mb']} MB")
        out = found["export"]
        rate, first = out["rows_per_s"], out["first_byte_s"]
        print(f"hone, {database}: export of {out['rows']} at {rate} rows/s, first byte in {first} s")
        print(f"hone, {database}: {out['idle_mb']} MB idle, web and worker together")
        for peer, theirs in found.get("peers", {}).items():
            print(
                f"{peer}, {database}: import at {theirs['import']['rows_per_s']} rows/s, export at "
                f"{theirs['export']['rows_per_s']}, {theirs['idle_mb']} MB idle, {theirs['peak_mb']} MB at most"
            )
        if "peers" not in found:
            print(f"{database}, not measured here: {ELSEWHERE[database]}")


def targets(results: dict[str, Any]) -> dict[str, Any]:
    """What was to be reached, against the peers of this run or else their figures from elsewhere.

    Where this run left a part out, its target is left out, too.
    """
    found: dict[str, Any] = {}
    for database, ours in results.items():
        cells = [cell for size in ours["judging"].values() for cell in size.values()]
        for name in WRONG:
            wrong = sum(cell[name] for cell in cells)
            found[f"{database}_{name}"] = _target(wrong, 0, wrong == 0)
        for people, most in SLOWEST_MS.items():
            slowest = [size[people]["next_and_submit_ms"]["p95"] for size in ours["judging"].values() if people in size]
            if slowest and None not in slowest:
                found[f"{database}_p95_{people}"] = _target(max(slowest), most, max(slowest) <= most)
        mine = _rates(ours)
        for peer, wanted in TIMES[database].items():
            here = ours.get("peers", {}).get(peer)
            theirs = _rates(here) if here else ELSEWHERE[database][peer]
            where = "" if here else "_elsewhere"
            for what, times in wanted.items():
                if what in mine and theirs.get(what):
                    reached = mine[what] / theirs[what]
                    found[f"{database}_{what}_times_{peer}{where}"] = _target(reached, times, reached >= times)
        idle = ours["export"]["idle_mb"]
        found[f"{database}_idle_mb"] = _target(idle, IDLE_MB, idle <= IDLE_MB)
    return found


def _rates(found: dict[str, Any]) -> dict[str, float]:
    """Judgements a second with 20 annotators, the lowest of all sizes, and rows a second in and out."""
    judging, imports = found["judging"], found["import"]
    twenty = [size["20"]["per_s"] for size in judging.values() if "20" in size]
    if "20" in judging:  # a peer has one size
        twenty = [judging["20"]["per_s"]]
    # The largest import: starting a program takes as long as bringing in a few thousand rows.
    into = imports["rows_per_s"] if "rows_per_s" in imports else max(done["rows_per_s"] for done in imports.values())
    rates = {"import": into, "export": found["export"]["rows_per_s"]}
    return rates | ({"20": min(twenty)} if twenty else {})


def _cell(cell: dict[str, Any]) -> list[Any]:
    both = cell["next_and_submit_ms"]
    return [cell["per_s"], both["p50"], both["p95"], both["p99"], *(cell[name] for name in WRONG)]


def _line(*values: Any) -> str:
    return "{:>13}{:>11}".format(*values[:2]) + "".join(f"{value!s:>10.10}" for value in values[2:])


def _target(value: float, wanted: float, met: bool) -> dict[str, Any]:
    return {"value": round(value, 3), "target": wanted, "met": met}
