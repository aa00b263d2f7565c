"""MT-bench's votes: one record for each question and pair of models, with every judge's vote on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.utils.translation import gettext_noop

from annotation import reading
from annotation.cleaning import CleaningError, clean_text
from annotation.reading import Read, UnreadableFile
from annotation.shapes.shape import Messages, Row, Shape

FIELDS = ("judge", "model_a", "model_b", "question_id", "turn", "winner")
OWN_ANSWER = "(Each model's own answer; the votes come without the texts.)"


def gathered(votes: Read, questions: Path | None) -> Read:
    """The votes put together into records, each with the line of its first vote.

    A vote names its pair in either order: the pair is put into one order (by name) before votes meet. "tie
    (inconsistent)", a verdict that flipped with the order, is a tie. `questions` is MT-bench's question.jsonl; without
    it the prompt names the question by its number. The votes come without answers, so each response names its model.
    """
    texts = _questions(questions) if questions else {}
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
    if missing := [field for field in FIELDS if field not in vote]:
        raise CleaningError(missing[0], "Is missing; an MT-bench vote has " + ", ".join(FIELDS) + ".")
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


def _recognises(row: Row) -> bool:
    return all(field in row for field in FIELDS)


SHAPE = Shape("mt-bench", gettext_noop("MT-bench votes"), _recognises, lambda row, target: (row,))
