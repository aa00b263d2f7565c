"""What a generate run wrote becomes tasks that people judge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotation import tasks
from annotation.cleaning import CleaningError, clean_text
from annotation.models import Kind, Project, Purpose
from rlhf.models import Round, Run


@dataclass
class Made:
    """How many tasks came of a run's answers, and why some answers did not become one."""

    tasks: int = 0
    left_out: Counter[str] = field(
        default_factory=Counter
    )  # reason → prompts (identical, single) or answers (unreadable)

    def as_dict(self) -> dict[str, Any]:
        return {"made": self.tasks, "left_out": dict(self.left_out)}


def make_tasks_from_generations(run: Run) -> Made:
    """Tasks in the run's project from its answers, and the count of what was left out; asking twice adds nothing.

    Preference: answers are paired in order, and a pair with equal texts is left out. Ranking: all different answers of
    a prompt. Rating: each different answer alone. Demonstration: the prompt alone, for a person to answer.
    """
    made = Made()
    need = (run.round.plan.get("overlap") if run.round else None) or run.project.overlap
    source = run.start_model.name if run.start_model else run.name
    records: list[dict[str, Any]] = []
    for row in read(run.folder):
        for number, answers in enumerate(_groups(run.project, _clean(row, made), made)):
            identifier = f"{prefix(run)}{row['id']}" + (f"/{number}" if number else "")
            metadata = {"run": run.name} | ({"round": run.round.number} if run.round else {})
            record = {
                "id": identifier,
                "prompt": row["prompt"],
                "responses": answers,
                "metadata": metadata,
                "need": need,
            }
            records.append(record)
    tasks.add_tasks(run.project, records, purpose=Purpose.LABEL, source=source)
    made.tasks = run.project.tasks.filter(external_id__startswith=prefix(run)).count()
    return made


def prefix(run: Run) -> str:
    """What the caller's ids of the run's tasks begin with."""
    return label_prefix(run.round) if run.round else f"{run.name}/"


def label_prefix(round: Round) -> str:
    """What the caller's ids of the tasks that a round asks people to label begin with."""
    return f"round-{round.number}/label/"


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """The answers in a run directory: `{"id", "prompt", "model", "responses": [{"text", "finish", …}]}` per line."""
    with (folder / "generations.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def answer(response: dict[str, Any]) -> dict[str, Any]:
    """A generated response as a task's response: its text and what is known about it; raises CleaningError."""
    known = {name: response[name] for name in ("tokens", "finish", "logprob") if response.get(name) is not None}
    return {"text": clean_text(response["text"], "text"), "params": known, "score": response.get("reward")}


def _clean(row: dict[str, Any], made: Made) -> list[dict[str, Any]]:
    answers = []
    for response in row["responses"]:
        try:
            answers.append(answer(response))
        except CleaningError:  # a model can write what no database holds
            made.left_out["unreadable"] += 1
    return answers


def _groups(project: Project, answers: list[dict[str, Any]], made: Made) -> Iterator[list[dict[str, Any]]]:
    """The answers as the project's kind shows them, a task each."""
    different = list({each["text"].strip(): each for each in reversed(answers)}.values())[::-1]
    if project.kind == Kind.DEMONSTRATION:
        yield []
    elif project.kind == Kind.RATING:
        yield from ([each] for each in different)
    elif len(answers) < 2:
        made.left_out["single"] += 1
    elif project.kind == Kind.RANKING:
        if len(different) > 1:
            yield different
        else:
            made.left_out["identical"] += 1
    else:
        for a, b in zip(answers[::2], answers[1::2], strict=False):
            if a["text"].strip() == b["text"].strip():
                made.left_out["identical"] += 1
            else:
                yield [a, b]
