"""TRL's stepwise supervision: the steps of one answer in `completions`, and in `labels` whether each is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, clean_text, kind_of
from annotation.models import Kind
from annotation.shapes.shape import Row, Shape, Target, without
from annotation.shapes.trl import label_record

SEPARATOR = "\n"  # between steps, as TRL's trainer for them has it
NO_PLACE = (
    "Are the steps of one answer (TRL's stepwise supervision), which a {} project does not judge; import them into a "
    "rating project with one aspect of two points, or into a demonstration project."
)


def _recognises(row: Row) -> bool:
    steps = row.get("completions")
    is_steps = isinstance(steps, list) and bool(steps) and all(isinstance(step, str) for step in steps)
    return is_steps and isinstance(row.get("labels"), list) and "prompt" in row


def _records(row: Row, target: Target) -> Iterator[Row]:
    """A rating project gets one record a step, after the prompt and the steps before it, judged as a binary label is.

    A demonstration project gets the whole answer: a demonstration where every step is right, else a draft to be
    improved. The steps and their labels stay with it as metadata.
    """
    steps, labels = _steps(row.get("completions")), _labels(row.get("labels"))
    if len(steps) != len(labels):
        raise CleaningError("labels", f"There are {len(labels)} for {len(steps)} completions; each needs one.")
    if target.kind == Kind.DEMONSTRATION:
        whole = SEPARATOR.join(steps)
        yield dict(row) | ({"completion": whole} if all(labels) else {"responses": [whole]})
        return
    if target.kind != Kind.RATING:
        raise CleaningError("completions", NO_PLACE.format(target.kind))
    for place, (step, label) in enumerate(zip(steps, labels, strict=True)):
        record = dict(without(row, "completions", "labels"))
        record["prompt"] = _before(row.get("prompt"), steps[:place])
        if row.get("id") is not None:
            record["id"] = f"{row['id']}#{place + 1}"
        yield label_record(record | {"completion": step}, label, target)


def _steps(given: Any) -> list[str]:
    if not isinstance(given, list) or not given:
        raise CleaningError("completions", f"Must be a list of steps, not {kind_of(given)}.")
    return [clean_text(step, f"completions[{place}]") for place, step in enumerate(given)]


def _labels(given: Any) -> list[bool]:
    if not isinstance(given, list):
        raise CleaningError("labels", f"Must be a list of true and false, not {kind_of(given)}.")
    for place, label in enumerate(given):
        if not isinstance(label, bool):
            raise CleaningError(f"labels[{place}]", "Must be true or false.")
    return given


def _before(prompt: Any, steps: list[str]) -> Any:
    """The prompt, and what of the answer stands before a step as the assistant's."""
    if not steps:
        return prompt
    asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return [*asked, {"role": "assistant", "content": SEPARATOR.join(steps)}]


SHAPE = Shape("trl-steps", gettext_noop("TRL answers with a label for each step"), _recognises, _records)
