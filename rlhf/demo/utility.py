"""The hidden truth of the demo's world: how good a reply is, computed from its text alone.

`utility` is the sum of the parts that `explain` returns:

product     +1 names the customer's product, -1 names another one
fix         +3 one sentence holds both marks of the right fix, +1 only one mark is there
wrong_fix   -1.5 for each other problem whose fix is given, at most -3
courtesy    +1 thanks or regret in the first sentence
offer       +0.5 the last sentence offers more help
rudeness    -1.5 for each rude phrase, at most -3
idle        -0.75 for each sentence that adds nothing new (none of the above, or once more the same), at most -4.5
length      -0.2 for each word below 8, -0.1 for each word above 45, at most -3
repetition  -4 times the share of three-word runs that were there before
ending      -1 when the text stops without a full stop, or is empty

A reply of the best kind scores 5.5. More words, more thanks or more fixes never score more: each counts once.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from rlhf.demo.desk import PROBLEMS, PRODUCTS, Problem

Message = dict[str, str]
Prompt = Sequence[Message]

BEST = 5.5
SHORT, LONG = 8, 45  # words

_COURTESY = re.compile(r"\b(thanks?|thank you|sorry|apolog\w+)\b", re.IGNORECASE)
_OFFER = re.compile(
    r"\b(let (us|me) know|write again|feel free|happy to help|more questions|anything else|reply (here|at any))\b",
    re.IGNORECASE,
)
_RUDE = re.compile(
    r"\b(not our problem|read the manual|everybody knows|should have thought|waste our time|stupid|idiot|shut up)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_WORD = re.compile(r"[\w']+")


class Case(NamedTuple):
    """What a customer's message is about; None where the desk does not know it."""

    product: str | None
    problem: Problem | None


_PRODUCT = re.compile(rf"\b({'|'.join(PRODUCTS)})\b", re.IGNORECASE)
# What stands around the product in each way of telling a problem.
_PHRASES = [(phrase.lower().rstrip("?").split("{x}"), problem) for problem in PROBLEMS for phrase in problem.phrases]


def case_of(prompt: Prompt) -> Case:
    """The product and the problem that the customer's last message names."""
    text = next((message["content"] for message in reversed(prompt) if message["role"] == "user"), "")
    product = next(iter(_products_in(text)), None)
    lower = text.lower()
    problem = next((problem for parts, problem in _PHRASES if all(part in lower for part in parts)), None)
    return Case(product, problem)


def utility(prompt: Prompt, reply: str) -> float:
    """The true worth of `reply`, from about -10 (broken) to 5.5 (nothing to improve)."""
    return _worth(case_of(prompt), reply)


@functools.lru_cache(16_384)  # several people judge the same answers
def _worth(case: Case, reply: str) -> float:
    return sum(_parts(case, reply).values())


def explain(prompt: Prompt, reply: str) -> dict[str, float]:
    """The parts of `utility` by name, as the module's text defines them."""
    return _parts(case_of(prompt), reply)


def _parts(case: Case, reply: str) -> dict[str, float]:
    text = reply.strip()
    sentences = [part.strip() for part in _SENTENCE.findall(text) if _WORD.search(part)]
    words = [word.lower() for word in _WORD.findall(text)]
    return {
        "product": _product(case, text),
        "fix": _fix(case, sentences, text),
        "wrong_fix": -min(3.0, 1.5 * len(_fixes_in(sentences) - {case.problem})),
        "courtesy": float(bool(sentences) and bool(_COURTESY.search(sentences[0]))),
        "offer": 0.5 * (bool(sentences) and bool(_OFFER.search(sentences[-1]))),
        "rudeness": -min(3.0, 1.5 * len(_RUDE.findall(text))),
        "idle": -min(4.5, 0.75 * _idle(case, sentences)),
        "length": -min(3.0, 0.2 * max(0, SHORT - len(words)) + 0.1 * max(0, len(words) - LONG)),
        "repetition": -4.0 * _repeated(words),
        "ending": -float(not text.endswith((".", "!", "?"))),
    }


@functools.cache
def _pattern(mark: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(mark)}\b", re.IGNORECASE)


def _has(mark: str, text: str) -> bool:
    return _pattern(mark).search(text) is not None


def _products_in(text: str) -> list[str]:
    return [name.lower() for name in _PRODUCT.findall(text)]


def _product(case: Case, text: str) -> float:
    named = set(_products_in(text))
    if named - {case.product}:
        return -1.0
    return 1.0 if named else 0.0


def _fixes_in(sentences: Sequence[str]) -> set[Problem | None]:
    return {p for p in PROBLEMS if any(all(_has(mark, sentence) for mark in p.marks) for sentence in sentences)}


def _fix(case: Case, sentences: Sequence[str], text: str) -> float:
    if case.problem is None:
        return 0.0
    if case.problem in _fixes_in(sentences):
        return 3.0
    return 1.0 if any(_has(mark, text) for mark in case.problem.marks) else 0.0


def _idle(case: Case, sentences: Sequence[str]) -> int:
    """How many sentences bring nothing that an earlier one has not brought. Rude ones have their own price."""
    seen: set[object] = set()
    idle = 0
    for sentence in sentences:
        brings: set[object] = set(_fixes_in([sentence]))
        if case.problem is not None:
            brings |= {mark for mark in case.problem.marks if _has(mark, sentence)}
        brings |= {name for name, found in (("courtesy", _COURTESY), ("offer", _OFFER)) if found.search(sentence)}
        if case.product is not None and _has(case.product, sentence):
            brings.add("product")
        idle += not (brings - seen) and not _RUDE.search(sentence)
        seen |= brings
    return idle


def _repeated(words: Sequence[str]) -> float:
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0
