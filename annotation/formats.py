"""Foreign records in Hone's shape: Anthropic's transcripts, TRL's message lists, MT-bench votes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotation import reading
from annotation.cleaning import CleaningError, clean_text
from annotation.reading import Read, UnreadableFile

Messages = list[dict[str, Any]]

TURN = re.compile(r"\n\n(Human|Assistant): ?")
LAST_ANSWER = "\n\nAssistant:"
ROLES = {"Human": "user", "Assistant": "assistant"}
MT_BENCH_FIELDS = ("judge", "model_a", "model_b", "question_id", "turn", "winner")
OWN_ANSWER = "(Each model's own answer; the votes come without the texts.)"


def is_transcript(text: object) -> bool:
    return isinstance(text, str) and text.startswith("\n\nHuman:") and LAST_ANSWER in text


def split_transcripts(chosen: str, rejected: str) -> tuple[Messages, str, str]:
    """The prompt that two Anthropic-HH transcripts share, and the two last answers.

    Both are cut at their last "\\n\\nAssistant:"; what stands before must be the same, or it is not one prompt.
    """
    before, _, good = chosen.rpartition(LAST_ANSWER)
    before_other, _, bad = rejected.rpartition(LAST_ANSWER)
    if before != before_other:
        raise CleaningError(
            "rejected", "Has another prompt than chosen: the transcripts differ before the last answer."
        )
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
            raise CleaningError("rejected", "Has another prompt than chosen: the messages differ before the last one.")
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


def mt_bench(votes: Read, questions: Path) -> Read:
    """One record for each question and pair of models, with every judge's vote on it.

    A vote names its pair in either order: the pair is put into one order (by name) before votes meet. "tie
    (inconsistent)", a verdict that flipped with the order, is a tie. `questions` is MT-bench's question.jsonl; without
    it the prompt names the question by its number. The votes come without answers, so each response names its model.
    """
    texts = _questions(questions)
    records: dict[str, tuple[int, dict[str, Any]]] = {}
    for line, vote in votes:
        if isinstance(vote, CleaningError):
            yield line, vote
            continue
        try:
            identifier, record, judgement = _vote(vote, texts)
        except CleaningError as error:
            yield line, error
            continue
        _, known = records.setdefault(identifier, (line, record))
        known["annotations"].append(judgement)
    yield from records.values()


def _vote(vote: dict[str, Any], texts: dict[int, dict[str, Any]]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    if missing := [field for field in MT_BENCH_FIELDS if field not in vote]:
        raise CleaningError(missing[0], "Is missing; an MT-bench vote has " + ", ".join(MT_BENCH_FIELDS) + ".")
    pair = [clean_text(vote[field], field, limit=100) for field in ("model_a", "model_b")]
    question, turn = vote["question_id"], vote["turn"]
    if type(question) is not int or turn not in (1, 2):
        raise CleaningError(
            "question_id" if turn in (1, 2) else "turn", "Must be a question's number, and turn 1 or 2."
        )
    sides = {"model_a": "a", "model_b": "b"} if pair[0] <= pair[1] else {"model_a": "b", "model_b": "a"}
    choice = "tie" if vote["winner"] in ("tie", "tie (inconsistent)") else sides.get(vote["winner"])
    if choice is None:
        raise CleaningError("winner", 'Must be "model_a", "model_b", "tie" or "tie (inconsistent)".')
    first, second = sorted(pair)
    asked = texts.get(question, {})
    record = {
        "id": f"mt-bench-{question}-{turn}-{first}-{second}",
        "prompt": _conversation(question, turn, asked.get("turns")),
        "responses": [{"text": f"(The answer of {model}.)", "source": model} for model in (first, second)],
        "metadata": {"benchmark": "mt-bench", "question_id": question, "turn": turn} | _category(asked),
        "annotations": [],
    }
    return str(record["id"]), record, {"annotator": vote["judge"], "choice": choice}


def _conversation(question: int, turn: int, asked: Any) -> Messages:
    if not isinstance(asked, list) or len(asked) < turn:
        return [{"role": "user", "content": f"(MT-bench question {question}, turn {turn}.)"}]
    messages: Messages = [{"role": "user", "content": asked[0]}]
    if turn == 2:
        messages += [{"role": "assistant", "content": OWN_ANSWER}, {"role": "user", "content": asked[1]}]
    return messages


def _category(asked: dict[str, Any]) -> dict[str, Any]:
    return {"category": asked["category"]} if isinstance(asked.get("category"), str) else {}


def _questions(path: Path) -> dict[int, dict[str, Any]]:
    if not path.is_file():
        return {}
    found = {}
    for line, row in reading.read(path, "jsonl"):
        if isinstance(row, CleaningError) or not isinstance(row.get("question_id"), int):
            raise UnreadableFile(f"{path.name}, line {line}: not an MT-bench question.")
        found[row["question_id"]] = row
    return found


SHAPES = ("hh", "mt-bench")


def shaped(path: Path, format: str | None) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """The records of a file in Hone's shape; `format` names a container, a foreign shape, or is found out."""
    container = None if format in SHAPES else format
    records = reading.read(path, container)
    return mt_bench(records, path.parent / "question.jsonl") if format == "mt-bench" else records
