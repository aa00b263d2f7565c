"""JSON that is not JSON, or more than anybody can hold."""

import json

from tests.annotation.hostile.encodings import GOOD, second

DEEP = 20_000


def array(*elements: bytes) -> bytes:
    return b"[" + b",\n".join(elements) + b"]"


FILES = {
    "empty.jsonl": (b"", 0, "", "no records"),
    "blank-lines.jsonl": (b"\n \n\t\n", 0, "", "no records"),
    "empty.json": (b"[]", 0, "", "no records"),
    "half-an-array.json": (b'[{"prompt": "p"}', 0, "", "comma or ]"),
    "text-after-the-array.json": (array(GOOD.strip()) + b" and more", 0, "", "after the end"),
    "trailing-comma.json": (b"[" + GOOD.strip() + b",]", 0, "", "not valid JSON"),
    "single-quotes.jsonl": (GOOD + b"{'prompt': 'p'}\n", 2, "", "not valid JSON"),
    "cut-line.jsonl": (GOOD + GOOD[:20] + b"\n", 2, "", "not valid JSON"),
    "two-records-on-a-line.jsonl": (GOOD + GOOD.strip() + GOOD, 2, "", "not valid JSON"),
    "missing-comma.jsonl": (GOOD + b'{"prompt": "p" "responses": []}\n', 2, "", "not valid JSON"),
    "javascript-comment.jsonl": (GOOD + b'{"prompt": "p"} // x\n', 2, "", "not valid JSON"),
    "bare-word.jsonl": (GOOD + b"undefined\n", 2, "", "not valid JSON"),
    "a-number.jsonl": (GOOD + b"7\n", 2, "", "Must be an object"),
    "a-text.jsonl": (GOOD + b'"text"\n', 2, "", "Must be an object"),
    "a-list.jsonl": (GOOD + b"[1]\n", 2, "", "Must be an object"),
    "null.jsonl": (GOOD + b"null\n", 2, "", "Must be an object"),
    "nan.jsonl": (second(b'"p", "priority": NaN'), 2, "", "NaN"),
    "infinity.jsonl": (second(b'"p", "metadata": {"x": -Infinity}'), 2, "", "-Infinity"),
    "1e400.jsonl": (second(b'"p", "metadata": {"x": 1e400}'), 2, "", "1e400"),
    "10-to-the-400.jsonl": (second(b'"p", "priority": ' + b"1" + b"0" * 400), 2, "", "too large"),
    "ten-thousand-digits.jsonl": (second(b'"p", "metadata": {"x": ' + b"9" * 10_000 + b"}"), 2, "", "too large"),
    "duplicate-key.jsonl": (second(b'"p", "prompt": "q"'), 2, "prompt", "twice"),
    "duplicate-key-inside.jsonl": (second(b'"p", "metadata": {"a": 1, "a": 2}'), 2, "a", "twice"),
    "deep-lists.jsonl": (second(b"[" * DEEP + b"]" * DEEP), 2, "", "levels deep"),
    "deep-objects.jsonl": (second(b'{"a":' * DEEP + b"1" + b"}" * DEEP), 2, "", "levels deep"),
    "deep-and-open.jsonl": (second(b"[" * DEEP), 2, "", ""),
    "deep-metadata.jsonl": (second(b'"p", "metadata": {"x": ' + b"[" * 70 + b"]" * 70 + b"}"), 2, "metadata", "levels"),
    "deep.json": (array(GOOD.strip(), b"[" * DEEP), 0, "", ""),
    "ten-megabyte-cell.jsonl": (second(json.dumps("x" * 10_000_000).encode()), 2, "prompt", "10,000,000 characters"),
    "seventeen-megabyte-line.jsonl": (second(json.dumps("x" * 17_000_000).encode()), 2, "", "longer than 16 MB"),
    "mixed-line-ends.jsonl": (GOOD.replace(b"\n", b"\r\n") + second(b'"q"')[len(GOOD) :] + b"\n\r\n", None, "", ""),
    "no-last-line-end.jsonl": (second(b'"q"').rstrip(), None, "", ""),
}
