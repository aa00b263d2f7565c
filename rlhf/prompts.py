"""Prompts for a round or a run: read from a file, a snapshot or a project, and held apart for evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
from django.utils.translation import gettext

from annotation.cleaning import CleaningError, clean_text, strict_json
from annotation.models import Project, Purpose
from rlhf.models import Round, Snapshot

Messages = list[dict[str, str]]
Prompt = dict[str, Any]  # {"id": str, "prompt": Messages}
ROLES = ("system", "user", "assistant")


class PromptError(ValueError):
    """Prompts that cannot be used, in one sentence that names the line."""


def from_file(path: Path | str) -> list[Prompt]:
    """The prompts of a JSONL file: each line `{"id"?, "prompt": text or messages}` or just a text."""
    found: list[Prompt] = []
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    found.append(_read(line, number))
    except OSError as error:
        raise PromptError(
            gettext("%(path)s cannot be read: %(strerror)s.") % {"path": path, "strerror": error.strerror}
        ) from error
    return distinct(found)


def from_snapshot(snapshot: Snapshot, split: str | None = None) -> list[Prompt]:
    """The different prompts of a snapshot, of one split or of both."""
    found: list[Prompt] = []
    for part in [split] if split else ["train", "eval"]:
        column = parquet.read_table(snapshot.folder / f"{part}.parquet", columns=["prompt"])["prompt"]
        found += [{"id": key(prompt)[:16], "prompt": prompt} for prompt in column.to_pylist()]
    return distinct(found)


def from_project(project: Project) -> list[Prompt]:
    """The different prompts of a project's tasks, those of evaluations left out."""
    tasks = project.tasks.filter(purpose=Purpose.LABEL).order_by("pk")
    return distinct({"id": key(prompt)[:16], "prompt": prompt} for prompt in tasks.values_list("prompt", flat=True))


def judged_in(project: Project, purpose: str) -> set[str]:
    """The keys of the prompts that tasks with this purpose ask about."""
    rows = project.tasks.filter(purpose=purpose).values_list("prompt", flat=True)
    return {key(prompt) for prompt in rows.iterator(chunk_size=2000)}


def evaluated_in(project: Project) -> Iterator[Messages]:
    """The prompts on which the policies of this project are evaluated, by its tasks and by the rounds it has."""
    rows = project.tasks.filter(purpose=Purpose.EVALUATION).values_list("prompt", flat=True)
    used = Round.objects.filter(project=project).exclude(state=Round.State.ABANDONED)  # whose plans came to nothing
    files = (round.folder / "eval_prompts.jsonl" for round in used)
    planned = (row["prompt"] for path in files if path.is_file() for row in read(path))
    return chain(rows.iterator(chunk_size=2000), planned)


def held_out_in(project: Project) -> list[Prompt]:
    """The different prompts on which earlier rounds of this project were evaluated."""
    return distinct({"id": key(prompt)[:16], "prompt": prompt} for prompt in evaluated_in(project))


def hold_out(prompts: Iterable[Prompt], count: int, seed: int = 0) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts without `count` of them, and those; drawn by hash, so that the order does not matter."""
    # Not the hash that splits snapshots: what is held out here would be the very prompts of their eval split.
    drawn = sorted(prompts, key=lambda row: hashlib.sha256(f"hold-out:{seed}:{key(row['prompt'])}".encode()).digest())
    return drawn[count:], drawn[:count]


def distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The first of each different prompt; an id that two of them share is made different."""
    kept: dict[str, Prompt] = {}
    for row in prompts:
        kept.setdefault(key(row["prompt"]), row)
    ids: set[str] = set()
    for digest, row in kept.items():
        if row["id"] in ids:
            kept[digest] = row = row | {"id": f"{row['id']}-{digest[:8]}"}
        ids.add(row["id"])
    return list(kept.values())


def key(prompt: list[dict[str, str]]) -> str:
    """A digest of the messages: two prompts are the same when this is."""
    plain = [[message["role"], message["content"]] for message in prompt]
    return hashlib.sha256(json.dumps(plain, ensure_ascii=False).encode()).hexdigest()


def write(path: Path, prompts: Iterable[Prompt]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in prompts), "utf-8")


def read(path: Path) -> Iterator[Prompt]:
    """What `write` stored."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def messages(value: Any, field: str = "prompt") -> list[dict[str, str]]:
    """`value` as chat messages: a text becomes one user message."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise CleaningError(field, gettext("Must be a text or a list of messages."))
    for index, message in enumerate(value):
        if not isinstance(message, dict) or set(message) != {"role", "content"} or message["role"] not in ROLES:
            raise CleaningError(
                f"{field}[{index}]",
                gettext("Must have a role (%(roles)s) and content, nothing else.") % {"roles": ", ".join(ROLES)},
            )
        clean_text(message["content"], f"{field}[{index}].content")
    return value


def _read(line: bytes, number: int) -> Prompt:
    try:
        row = strict_json(line)
        row = {"prompt": row} if isinstance(row, str) else row
        if not isinstance(row, dict):
            raise CleaningError("", gettext("Must be an object with a prompt, or a text."))
        identifier = clean_text(str(row.get("id", number)), "id", limit=80)
        return {"id": identifier, "prompt": messages(row.get("prompt"))}
    except CleaningError as error:
        raise PromptError(gettext("Line %(number)s: %(error)s") % {"number": number, "error": error}) from error
