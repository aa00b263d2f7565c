"""Sound JSON whose fields are missing, extra, of the wrong type, or meant to do harm."""

import json
from typing import Any

GOOD: dict[str, Any] = {"id": "1", "prompt": "p", "responses": ["x", "y"]}
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>[a](javascript:alert(3))"
ASKED = {"role": "user", "content": "Hi"}
HH = "\n\nHuman: {}\n\nAssistant: {}"


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def second(**fields: Any) -> bytes:
    """A sound record, then one with other fields."""
    return lines(GOOD, GOOD | {"id": "2"} | fields)


FILES = {
    "no-prompt.jsonl": (lines(GOOD, {"responses": ["x", "y"]}), 2, "prompt", "missing"),
    "null-prompt.jsonl": (second(prompt=None), 2, "prompt", "missing"),
    "empty-prompt.jsonl": (second(prompt="  "), 2, "prompt", "empty"),
    "prompt-a-number.jsonl": (second(prompt=5), 2, "prompt", "not a number"),
    "prompt-an-object.jsonl": (second(prompt={"text": "p"}), 2, "prompt", "not an object"),
    "no-responses.jsonl": (lines(GOOD, {"prompt": "p"}), 2, "responses", "takes 2"),
    "one-response.jsonl": (second(responses=["x"]), 2, "responses", "takes 2"),
    "three-responses.jsonl": (second(responses=["x", "y", "z"]), 2, "responses", "takes 2"),
    "response-a-number.jsonl": (second(responses=["x", 5]), 2, "responses[1]", "not a number"),
    "responses-a-text.jsonl": (second(responses="xy"), 2, "responses", "list"),
    "identical-responses.jsonl": (second(responses=["same", "same"]), 2, "responses", "same text"),
    "half-a-pair.jsonl": (lines(GOOD, {"prompt": "p", "response_a": "x"}), 2, "response_b", "missing"),
    "only-rejected.jsonl": (lines(GOOD, {"prompt": "p", "rejected": "x"}), 2, "chosen", "missing"),
    "two-ways-at-once.jsonl": (second(chosen="x", rejected="y"), 2, "chosen", "beside responses"),
    "unknown-role.jsonl": (second(prompt=[ASKED | {"role": "bot"}]), 2, "prompt[0].role", "system, user, assistant"),
    "no-content.jsonl": (second(prompt=[{"role": "user"}]), 2, "prompt[0]", "role"),
    "extra-key-in-message.jsonl": (second(prompt=[ASKED | {"name": "x"}]), 2, "prompt[0]", "nothing more"),
    "thousands-of-messages.jsonl": (second(prompt=[ASKED] * 1001), 2, "prompt", "1 to 1000"),
    "unpaired-turns.jsonl": (
        lines({"chosen": HH.format("Hi", "Ho"), "rejected": HH.format("Hey", "Ho")}), 1, "rejected", "another prompt",
    ),
    "transcript-without-answer.jsonl": (
        lines({"chosen": "\n\nHuman: Hi", "rejected": "\n\nHuman: Hi"}), 1, "chosen", "transcript",
    ),
    "answer-to-nothing.jsonl": (
        lines({"conversations": [{"from": "gpt", "value": "Hi"}]}), 1, "conversations", "earlier turn",
    ),
    "unknown-speaker.jsonl": (
        lines({"conversations": [{"from": "martian", "value": "Hi"}]}), 1, "conversations[0].from", "martian",
    ),
    "empty-conversation.jsonl": (lines({"messages": []}), 1, "messages", "no turn"),
    "tool-call.jsonl": (lines({"messages": [{"role": "tool", "content": "x"}]}), 1, "messages[0].role", "tool"),
    "alpaca-without-text.jsonl": (lines({"instruction": [], "output": "x"}), 1, "instruction", "not a list"),
    "steps-of-one-answer.jsonl": (
        lines({"prompt": "p", "completions": ["x", "y"], "labels": [True, False]}), 1, "completions", "stepwise",
    ),
    "text-without-a-prompt.jsonl": (lines({"text": "x"}), 1, "prompt", "language modeling"),
    "ratings-of-nothing.jsonl": (
        lines({"instruction": "p", "completions": [{"response": "x"}]}), 1, "completions", "no pair",
    ),
    "studio-without-texts.json": (b"[" + lines({"data": {}, "annotations": []}) + b"]", 1, "prompt", "missing"),
    "studio-other-question.json": (
        b"[" + lines({"data": {"prompt": "p", "answer1": "x", "answer2": "y"}, "annotations": [{"result": []}]}) + b"]",
        1, "annotations[0].result", "no answer",
    ),
    "argilla-other-question.jsonl": (
        lines({"fields": {"prompt": "p", "response_1": "x", "response_2": "y"}, "responses": {"mood": [{"value": 9}]}}),
        1, "responses", "no answer",
    ),
    "metadata-a-list.jsonl": (second(metadata=[1]), 2, "metadata", "object"),
    "priority-too-large.jsonl": (second(priority=2**40), 2, "priority", "whole number"),
    "priority-true.jsonl": (second(priority=True), 2, "priority", "whole number"),
    "id-a-list.jsonl": (second(id=["x"]), 2, "id", "text"),
    "id-with-a-line-end.jsonl": (second(id="a\nb"), 2, "id", "printable"),
    "id-of-300-characters.jsonl": (second(id="x" * 300), 2, "id", "300 characters"),
    "same-id-twice.jsonl": (second(id="1"), 2, "id", "earlier record"),
    "gold-of-another-kind.jsonl": (second(gold={"ranking": [["a"]]}), 2, "gold.ranking", "not asked"),
    "choice-c.jsonl": (second(annotations=[{"annotator": "A", "choice": "c"}]), 2, "annotations[0].choice", "a, b"),
    "judge-without-a-name.jsonl": (second(annotations=[{"choice": "a"}]), 2, "annotations[0].annotator", "text"),
    "judged-tomorrow.jsonl": (
        second(annotations=[{"annotator": "A", "choice": "a", "created_at": "2999-01-01T00:00:00Z"}]),
        2, "annotations[0].created_at", "past",
    ),
    "judged-on-february-30.jsonl": (
        second(annotations=[{"annotator": "A", "choice": "a", "created_at": "2026-02-30T00:00:00Z"}]),
        2, "annotations[0].created_at", "time",
    ),
    "score-a-text.jsonl": (second(responses=["x", {"text": "y", "score": "9"}]), 2, "responses[1].score", "number"),
    "unknown-part-of-response.jsonl": (second(responses=["x", {"txt": "y"}]), 2, "responses[1].txt", "not known"),
    "markup-everywhere.jsonl": (
        lines({"id": SCRIPT, "prompt": SCRIPT, "responses": [SCRIPT, SCRIPT + "2"], "metadata": {SCRIPT: SCRIPT}}),
        None, "", "",
    ),
    "templates.jsonl": (second(prompt="{{ 7*7 }} {% debug %} ${7*7} %s", responses=["{{x}}", "%(y)s"]), None, "", ""),
    "sql.jsonl": (second(id="1'; DROP TABLE annotation_task; --", prompt="' OR 1=1 --"), None, "", ""),
    "path-like-ids.jsonl": (
        lines(*({**GOOD, "id": name} for name in ("../../etc/passwd", "C:\\x", "a/b", "~"))), None, "", "",
    ),
    "formula-ids.jsonl": (lines({**GOOD, "id": "=1+1"}, {**GOOD, "id": "@x"}), None, "", ""),
    "ids-by-unicode-form.jsonl": (lines({**GOOD, "id": "caf\u00e9"}, {**GOOD, "id": "cafe\u0301"}), None, "", ""),
    "ids-by-case.jsonl": (lines({**GOOD, "id": "a"}, {**GOOD, "id": "A"}), None, "", ""),
    "number-and-text-id.jsonl": (lines({**GOOD, "id": 1}, {**GOOD, "id": "01"}), None, "", ""),
    "extra-fields.jsonl": (second(**{f"field {number}": number for number in range(500)}), None, "", ""),
    "prototype-keys.jsonl": (second(metadata={"__proto__": {"x": 1}, "__class__": "y"}), None, "", ""),
}  # fmt: skip
