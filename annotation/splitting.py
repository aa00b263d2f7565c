"""Which rows train and which are held out; a prompt is never on both sides, nor is one that is nearly the same."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from annotation.judged import Selection, fetched, pages, selected, stored_text, value_of
from annotation.models import Annotation, Project, Task
from annotation.sameness import key_of, prompt_key, texts_of
from annotation.spans import about

TRAIN, EVAL = PARTS = ("train", "eval")
SIDES = (TRAIN, EVAL, "")
LEAK = "prompt is in the eval split"
BY = ("prompt", "time", "metadata")


@dataclass(frozen=True, kw_only=True)
class Split:
    """`prompt` draws a share of the prompts by hash, so that a prompt keeps its side as data grows; `time` holds out
    the tasks judged last at or after a moment; `metadata` those whose metadata say so. `near` takes prompts that are
    nearly the same (see nearness), and what is nearly the same as those, for one prompt: the earliest of them."""

    by: str = "prompt"
    eval_share: float = 0.1
    seed: int = 0
    at: datetime | None = None
    key: str = "split"
    eval: Any = "eval"
    near: bool = True


class Sides:
    """Tells the side of each task of one selection; some nine bytes a task, and hundred while it looks for them."""

    def __init__(self, project: Project, selection: Selection, split: Split) -> None:
        self.split = split
        self.tasks, self.sides = array("q"), array("b")  # by the tasks' ids, ascending; empty where each key tells
        if split.by != "prompt" or (split.near and split.eval_share > 0):
            self._look(selected(project, selection))

    def of(self, task: int, prompt: Iterable[dict[str, str]]) -> str:
        """`train`, `eval`, or "" for a task that may not train because its prompt is held out."""
        place = bisect_left(self.tasks, task)
        if place < len(self.tasks) and self.tasks[place] == task:
            return SIDES[self.sides[place]]
        if self.split.by != "prompt":
            return ""  # judged since: nobody has looked whether its prompt is held out
        return EVAL if is_drawn(prompt_key(prompt), self.split.eval_share, self.split.seed) else TRAIN

    def _look(self, rows: QuerySet[Annotation]) -> None:
        import numpy as np  # only who splits pays for loading it

        from annotation.nearness import NearPrompts, first_of_each

        late = rows.filter(created_at__gte=self.split.at) if self.split.by == "time" else None
        near, keys, held = NearPrompts(), array("Q"), array("b")
        for ids in pages(rows):
            found = _asked(ids)
            texts = [texts_of(value_of(prompt)) for _, prompt, _ in found]
            digests = [key_of(one) for one in texts]
            self.tasks.extend(task for task, _, _ in found)
            held.extend(self._held(found, digests, late))
            keys.extend(int(digest[:16], 16) for digest in digests)
            if self.split.near:
                near.add([" ".join(one[1::2]) for one in texts])
        same = first_of_each(np.frombuffer(keys, dtype=np.uint64))
        group = near.groups(same) if self.split.near else same
        own = np.frombuffer(held, dtype=np.int8)
        if self.split.by == "prompt":
            self.sides = array("b", own[group].tobytes())
            return
        touched = np.zeros(len(own), dtype=np.int8)
        np.maximum.at(touched, group, own)
        self.sides = array("b", np.where(own == 1, 1, 2 * touched[group]).astype(np.int8).tobytes())

    def _held(
        self, found: list[tuple[Any, ...]], digests: list[str], late: QuerySet[Annotation] | None
    ) -> Iterator[bool]:
        """Whether each of these tasks is itself held out."""
        if late is not None:
            judged = set(late.filter(**about([row[0] for row in found])).values_list("task", flat=True))
            return (row[0] in judged for row in found)
        if self.split.by == "metadata":
            return (value_of(row[2]).get(self.split.key) == self.split.eval for row in found)
        return (is_drawn(digest, self.split.eval_share, self.split.seed) for digest in digests)


def _asked(ids: list[int]) -> list[tuple[Any, ...]]:
    """Id, prompt and metadata, as they are stored, of these tasks by id."""
    rows = Task.objects.filter(**about(ids, "pk")).order_by("pk")
    wanted = set(ids)
    found = fetched(rows.values_list("pk", stored_text("prompt"), stored_text("metadata")))
    return [row for row in found if row[0] in wanted]


def asked_for(options: dict[str, Any]) -> Split | None:
    """The split that an export's options ask for, which are taken out of them; None where they ask for none."""
    found = {name: options.pop(name, None) for name in ("eval_share", "seed", "split_at", "near")}
    near = {} if found["near"] is None else {"near": found["near"]}
    if found["split_at"] is not None:
        return Split(by="time", at=found["split_at"], **near)
    given = {name: found[name] for name in ("eval_share", "seed") if found[name] is not None} | near
    return Split(**given) if given else None


def is_drawn(key: str, share: float, seed: int) -> bool:
    """Whether the prompt with this key falls into the share that is held out under this seed."""
    drawn = hashlib.sha256(f"split:{seed}:{key}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < share * 2**64
