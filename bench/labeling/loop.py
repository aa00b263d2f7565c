"""Simulated annotators over real HTTP, each in a closed loop: the next request goes out when the last is answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException

from labeling.client import Client


@dataclass
class Told:
    """What the annotators saw."""

    next_ms: list[float] = field(default_factory=list)
    submit_ms: list[float] = field(default_factory=list)
    both_ms: list[float] = field(default_factory=list)
    handed: list[tuple[str, int]] = field(default_factory=list)  # (annotator, task)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)  # (annotation, task)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def answered(self, began: float, between: float, ended: float, annotation: int, task: int) -> None:
        """One judgement that was acknowledged: its clock when it was asked for, there to be read, and stored."""
        self.next_ms.append(1000 * (between - began))
        self.submit_ms.append(1000 * (ended - between))
        self.both_ms.append(1000 * (ended - began))
        self.acknowledged.append((annotation, task))


# One judgement: asks for a task and answers it. Gives (task, annotation), or None when nothing is left.
Judge = Callable[[Client, str, int, Told], tuple[int, int] | None]


def run(clients: dict[str, Client], judge: Judge, *, seconds: float) -> Told:
    """Everybody judges until the time is over or nothing is left."""
    told, lock = Told(), threading.Lock()
    start = threading.Barrier(len(clients) + 1)

    def work(name: str, client: Client) -> None:
        mine = Told()
        start.wait()
        deadline, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < deadline:
            count += 1
            try:
                if judge(client, name, count, mine) is None:
                    break
            except (OSError, HTTPException, ValueError, KeyError) as error:
                mine.errors[f"{type(error).__name__}: {error}"[:120]] += 1
        with lock:
            for part in ("next_ms", "submit_ms", "both_ms", "handed", "acknowledged"):
                getattr(told, part).extend(getattr(mine, part))
            told.errors.update(mine.errors)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in clients.items()]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    told.seconds = time.perf_counter() - began
    return told


def percentiles(values: list[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p95": None, "p99": None}
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2) for share in (50, 95, 99)
    }
