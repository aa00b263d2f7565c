"""generations.jsonl: the answers of one or more policies, a line for each prompt and policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.answers import Answer


class Generations:
    """The file of a run, which may hold what an earlier attempt left in it."""

    def __init__(self, run_path: Path) -> None:
        self.path = run_path / "generations.jsonl"
        self._rows = list(_whole_lines(self.path))
        self._known = {(row["model"], row["id"]) for row in self._rows}

    def has(self, model: str, prompt_id: str) -> bool:
        return (model, prompt_id) in self._known

    def keep(self, models: Sequence[str]) -> None:
        """Forget the answers of every other model, and a line that was cut off."""
        self._rows = [row for row in self._rows if row["model"] in models]
        self._known = {(row["model"], row["id"]) for row in self._rows}
        aside = self.path.with_name(f".{self.path.name}.tmp")
        aside.write_text("".join(_line(row) for row in self._rows), encoding="utf-8")
        aside.replace(self.path)

    def add(self, model: str, answers: Sequence[Answer], rewards: Sequence[float] | None) -> None:
        """Append the answers, those to one prompt in one line, unless that line is already there."""
        rows: dict[str, dict[str, Any]] = {}
        for place, answer in enumerate(answers):
            prompt = answer.prompt
            if self.has(model, prompt.id):
                continue
            row = rows.setdefault(
                prompt.id, {"id": prompt.id, "prompt": prompt.messages, "model": model, "responses": []}
            )
            response = {"text": answer.text, "tokens": len(answer.ids), "finish": answer.finish, "logprob": answer.logp}
            row["responses"].append(response | ({} if rewards is None else {"reward": rewards[place]}))
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(_line(row) for row in rows.values()))
        self._rows += rows.values()
        self._known |= {(model, name) for name in rows}

    def responses(self, model: str) -> list[dict[str, Any]]:
        """Every response of one model."""
        return [response for row in self._rows if row["model"] == model for response in row["responses"]]


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1] if line]
