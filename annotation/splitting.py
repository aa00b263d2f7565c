"""Which rows train and which are held out; a prompt is never on both sides (see sameness for when two are one)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from annotation.judged import Selection, chunks, selected
from annotation.models import Annotation, Project, Task
from annotation.sameness import prompt_key

TRAIN, EVAL = PARTS = ("train", "eval")
LEAK = "prompt is in the eval split"
BY = ("prompt", "time", "metadata")


@dataclass(frozen=True, kw_only=True)
class Split:
    """`prompt` draws a share of the prompts by hash, so that a prompt keeps its side as data grows; `time` holds out
    the tasks judged last at or after a moment; `metadata` those whose metadata say so."""

    by: str = "prompt"
    eval_share: float = 0.1
    seed: int = 0
    at: datetime | None = None
    key: str = "split"
    eval: Any = "eval"


class Sides:
    """Tells the side of each task of one selection."""

    def __init__(self, project: Project, selection: Selection, split: Split) -> None:
        self.split = split
        self.tasks: set[int] = set()
        self.prompts: set[bytes] = set()  # of the held-out tasks, so that no other task trains on them
        if split.by != "prompt":
            self._look(selected(project, selection))

    def of(self, task: int, prompt: Iterable[dict[str, str]]) -> str:
        """`train`, `eval`, or "" for a task that may not train because its prompt is held out."""
        key = prompt_key(prompt)
        if self.split.by == "prompt":
            return EVAL if is_drawn(key, self.split.eval_share, self.split.seed) else TRAIN
        if task in self.tasks:
            return EVAL
        return "" if _short(key) in self.prompts else TRAIN

    def _look(self, rows: QuerySet[Annotation]) -> None:
        if self.split.by == "time":
            rows = rows.filter(created_at__gte=self.split.at)
        ids = rows.order_by("task").values_list("task", flat=True).distinct()
        for chunk in chunks(ids.iterator(chunk_size=2000)):
            for task, prompt, metadata in Task.objects.filter(pk__in=chunk).values_list("pk", "prompt", "metadata"):
                if self.split.by == "time" or metadata.get(self.split.key) == self.split.eval:
                    self.tasks.add(task)
                    self.prompts.add(_short(prompt_key(prompt)))


def asked_for(options: dict[str, Any]) -> Split | None:
    """The split that an export's options ask for, taken out of them: eval_share and seed, or split_at; else None."""
    found = {name: options.pop(name, None) for name in ("eval_share", "seed", "split_at")}
    if found["split_at"] is not None:
        return Split(by="time", at=found["split_at"])
    given = {name: found[name] for name in ("eval_share", "seed") if found[name] is not None}
    return Split(**given) if given else None


def is_drawn(key: str, share: float, seed: int) -> bool:
    """Whether the prompt with this key falls into the share that is held out under this seed."""
    drawn = hashlib.sha256(f"split:{seed}:{key}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < share * 2**64


def _short(key: str) -> bytes:
    return bytes.fromhex(key[:32])
