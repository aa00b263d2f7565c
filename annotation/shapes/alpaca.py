"""Alpaca rows: an instruction, perhaps an input it works on, and an output."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, clean_text, kind_of
from annotation.shapes.shape import Row, Shape, Target, without

FIELDS = ("instruction", "input", "output", "system", "history")


def _recognises(row: Row) -> bool:
    return "instruction" in row and "output" in row and "prompt" not in row and "responses" not in row


def _records(row: Row, target: Target) -> Iterator[Row]:
    """Instruction and input are one user message with an empty line between them; earlier turns come before it."""
    for name in ("instruction", "output"):
        if name not in row:
            raise CleaningError(name, "Is missing; an Alpaca row has instruction, input and output.")
    asked = clean_text(row["instruction"], "instruction")
    if given := clean_text(row.get("input") or "", "input"):
        asked = f"{asked}\n\n{given}" if asked else given
    messages = [*_system(row), *_history(row), {"role": "user", "content": asked}]
    yield {"prompt": messages, "completion": clean_text(row["output"], "output")} | dict(without(row, *FIELDS))


def _system(row: Row) -> Iterator[Row]:
    if system := row.get("system"):
        yield {"role": "system", "content": clean_text(system, "system")}


def _history(row: Row) -> Iterator[Row]:
    """Earlier turns, as LLaMA-Factory keeps them: [[asked, answered], …]."""
    history = row.get("history") or []
    if not isinstance(history, list):
        raise CleaningError("history", f"Must be a list of [question, answer], not {kind_of(history)}.")
    for index, turn in enumerate(history):
        if not isinstance(turn, list) or len(turn) != 2:
            raise CleaningError(f"history[{index}]", "Must be one question and its answer.")
        for role, text in zip(("user", "assistant"), turn, strict=True):
            yield {"role": role, "content": clean_text(text, f"history[{index}]")}


SHAPE = Shape("alpaca", gettext_noop("Alpaca rows"), _recognises, _records)
