"""What TRL's trainers read, beside Hone's own fields: pairs of whole conversations, binary labels, HH transcripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, clean_text
from annotation.models import Kind
from annotation.shapes.shape import Messages, Row, Shape, Target, without

TURN = re.compile(r"\n\n(Human|Assistant): ?")
LAST_ANSWER = "\n\nAssistant:"
ROLES = {"Human": "user", "Assistant": "assistant"}
SCORES = {"score_chosen": 0, "score_rejected": 1}
OTHER_PROMPT = "Has another prompt than chosen: the {} differ before the last {}."


def is_transcript(text: object) -> bool:
    return isinstance(text, str) and text.startswith("\n\nHuman:") and LAST_ANSWER in text


def split_transcripts(chosen: str, rejected: str) -> tuple[Messages, str, str]:
    """The prompt that two Anthropic-HH transcripts share, and the two last answers.

    Both are cut at their last "\\n\\nAssistant:"; what stands before must be the same, or it is not one prompt.
    """
    before, _, good = chosen.rpartition(LAST_ANSWER)
    before_other, _, bad = rejected.rpartition(LAST_ANSWER)
    if before != before_other:
        raise CleaningError("rejected", OTHER_PROMPT.format("transcripts", "answer"))
    return turns(before), good.removeprefix(" "), bad.removeprefix(" ")


def turns(transcript: str) -> Messages:
    """The messages of a transcript of "\\n\\nHuman:" and "\\n\\nAssistant:" turns."""
    head, *rest = TURN.split(transcript)
    if head.strip() or not rest:
        raise CleaningError("chosen", 'Is no transcript: it must start with "\\n\\nHuman:".')
    return [{"role": ROLES[who], "content": text} for who, text in zip(rest[::2], rest[1::2], strict=True)]


def split_messages(chosen: Messages, rejected: Messages, prompt: Messages | None) -> tuple[Messages, str, str]:
    """The prompt and the two answers of TRL's message lists, whether the prompt stands apart or in both lists."""
    if prompt is None:
        if chosen[:-1] != rejected[:-1]:
            raise CleaningError("rejected", OTHER_PROMPT.format("messages", "one"))
        prompt, chosen, rejected = chosen[:-1], chosen[-1:], rejected[-1:]
        if not prompt:
            raise CleaningError("chosen", "Holds an answer without a prompt; give the prompt in a field of its own.")
    return prompt, answer_of(chosen, "chosen"), answer_of(rejected, "rejected")


def answer_of(messages: Any, field: str) -> str:
    """The text of a completion given as text or as one assistant message."""
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list) or len(messages) != 1 or not isinstance(messages[0], dict):
        raise CleaningError(field, "Must be text, or a list of one assistant message.")
    if messages[0].get("role") != "assistant":
        raise CleaningError(field, 'Must be an assistant\'s message: {"role": "assistant", "content": "…"}.')
    return clean_text(messages[0].get("content"), f"{field}[0].content")


def _is_pairs(row: Row) -> bool:
    """Pairs whose lists hold the whole conversation although the prompt stands beside them too, or with scores."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        return False
    return bool(row.keys() & SCORES.keys()) or ("prompt" in row and len(chosen) > 1)


def _pair_records(row: Row, target: Target) -> Iterator[Row]:
    record = dict(without(row, "messages", *SCORES))
    sides = [row.get("chosen"), row.get("rejected")]
    if "prompt" in row and all(isinstance(side, list) and len(side) > 1 and not _answers(side) for side in sides):
        if not all(_repeats(row["prompt"], side[:-1]) for side in sides):  # type: ignore[index]
            raise CleaningError("chosen", "Repeats another prompt than the one in prompt.")
        del record["prompt"]
    if scores := {name: row[name] for name in SCORES if row.get(name) is not None}:
        record["metadata"] = {**scores, **_object(row.get("metadata"))}
    yield record


def _answers(side: Messages) -> bool:
    """Whether a list of messages begins with an answer, and so repeats no prompt."""
    return isinstance(side[0], dict) and side[0].get("role") == "assistant"


def _repeats(prompt: Any, messages: Messages) -> bool:
    if isinstance(prompt, str):
        return isinstance(messages[-1], dict) and messages[-1].get("content") == prompt
    return bool(prompt == messages)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_binary(row: Row) -> bool:
    return "completion" in row and "prompt" in row and _label(row) is not None


def _label(row: Row) -> bool | None:
    """The label, also as a cell's text."""
    value = row.get("label")
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _binary_records(row: Row, target: Target) -> Iterator[Row]:
    """A completion that somebody found good or bad.

    A demonstration project takes a good completion as a demonstration and a bad one as a draft to be improved.
    """
    label = _label(row)
    if label is None:
        raise CleaningError("label", "Must be true or false.")
    if target.kind == Kind.DEMONSTRATION and not label:
        yield dict(without(row, "completion")) | {"responses": [answer_of(row.get("completion"), "completion")]}
    else:
        yield label_record(row, label, target)


def label_record(row: Row, label: bool, target: Target) -> Row:
    """A completion with its label as the rating where the project asks for one of two points, else as metadata."""
    sole = next(iter(target.aspects)) if len(target.aspects) == 1 else ""
    if target.kind != Kind.RATING or target.aspects.get(sole) != 2 or not target.annotator:
        return row | {"label": label}
    judged = {"annotator": target.annotator, "ratings": {sole: 2 if label else 1}}
    return dict(without(row, "label")) | {"annotations": [judged]}


def _text_records(row: Row, target: Target) -> Iterator[Row]:
    """Texts that repeat their prompt, as TRL writes pairs "with implicit prompt": what both begin with is the prompt.

    Only where this is asked for, because two answers may begin alike whatever was asked.
    """
    chosen, rejected = (clean_text(row.get(name), name) for name in ("chosen", "rejected"))
    differ = (place for place, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other)
    shared = chosen[: next(differ, min(len(chosen), len(rejected)))]
    cut = len(shared.rstrip()) if shared != shared.rstrip() else max(shared.rfind(space) for space in " \n\t")
    if cut <= 0 or not shared[:cut].strip():
        raise CleaningError("rejected", "Begins with other words than chosen, so they share no prompt.")
    yield dict(row) | {"prompt": chosen[:cut], "chosen": chosen[cut:], "rejected": rejected[cut:]}


def _is_hh(row: Row) -> bool:
    return "prompt" not in row and is_transcript(row.get("chosen")) and is_transcript(row.get("rejected"))


# Pairs of texts, of answers beside a prompt and HH transcripts are Hone's own fields: records.py splits them.
PAIRS = Shape("trl-pairs", gettext_noop("TRL preference pairs"), _is_pairs, _pair_records)
BINARY = Shape("trl-binary", gettext_noop("TRL completions with a label"), _is_binary, _binary_records)
TRANSCRIPTS = Shape("hh", gettext_noop("Anthropic-HH transcripts"), _is_hh, lambda row, target: (row,))
TEXTS = Shape(
    "trl-texts", gettext_noop("TRL pairs of texts that repeat their prompt"), lambda row: False, _text_records
)
