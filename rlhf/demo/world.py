"""The demo's world: customers' messages to a small shop's support desk, and replies in good and bad habits.

Nothing here is random beyond the seed or the generator that the caller gives. `utility` and `explain`, the hidden truth
about a reply, are defined in `rlhf.demo.utility`.
"""

import random
from typing import Any, Literal

from rlhf.demo.desk import (
    ADVICE,
    ASKS,
    CLOSINGS,
    GREETINGS,
    MENTIONS,
    OPENINGS,
    OPENINGS_ABOUT,
    PROBLEMS,
    PRODUCTS,
    RAMBLE,
    RUDE,
    SUBJECTS,
    VAGUE,
    Problem,
)
from rlhf.demo.desk import GUIDELINES as _GUIDELINES
from rlhf.demo.reactions import reaction
from rlhf.demo.utility import BEST, Case, Message, Prompt, case_of, explain, utility

__all__ = [
    "BEST",
    "GUIDELINES",
    "NAME",
    "Case",
    "Message",
    "Prompt",
    "case_of",
    "corpus",
    "demonstration",
    "explain",
    "mediocre_reply",
    "prompts",
    "utility",
]

NAME = "Support desk"
ANSWERED = 0.5  # of the corpus's conversations end with what the customer said to the reply
EVAL_SHARE = 5  # one pair of product and problem in five is kept for evaluation

GUIDELINES = _GUIDELINES + "".join(f"| {p.phrases[0].format(x='it').rstrip('?')} | {p.fixes[0]} |\n" for p in PROBLEMS)

Split = Literal["train", "eval"]


def split_of(product: str, problem: Problem) -> Split:
    """The split of every prompt about this pair: an evaluation prompt's pair is in no training text at all."""
    held_out = (PROBLEMS.index(problem) + problem.products.index(product)) % EVAL_SHARE == 0
    return "eval" if held_out else "train"


def prompts(n: int, seed: int, split: Split = "train") -> list[list[Message]]:
    """`n` different customers' messages of one split, the same for the same seed."""
    rng = random.Random(f"prompts/{split}/{seed}")
    pairs = [(product, p) for p in PROBLEMS for product in p.products if split_of(product, p) == split]
    texts: dict[str, None] = {}
    while len(texts) < n:
        texts[_message(*rng.choice(pairs), rng)] = None
    return [[{"role": "user", "content": text}] for text in texts]


def corpus(n: int, seed: int) -> list[dict[str, Any]]:
    """`n` conversations to pretrain on, lines of corpus.jsonl: training prompts with replies of every habit."""
    rng = random.Random(f"corpus/{seed}")
    return [{"messages": _conversation(prompt, rng)} for prompt in prompts(n, seed, "train")]


def _conversation(prompt: Prompt, rng: random.Random) -> list[Message]:
    reply = mediocre_reply(prompt, rng)
    said = [*prompt, {"role": "assistant", "content": reply}]
    if rng.random() < ANSWERED:
        said.append({"role": "user", "content": reaction(prompt, reply, rng)})
    return said


def mediocre_reply(prompt: Prompt, rng: random.Random) -> str:
    """What an undisciplined desk answers: every habit, good or bad, comes and goes on its own."""
    case = case_of(prompt)
    named = _mostly(case.product, PRODUCTS, 0.98, rng)
    sentences = _pick(rng, (0.25, OPENINGS_ABOUT), (0.20, OPENINGS), (0.15, MENTIONS), (0.40, ("",)))
    parts = [sentences.format(p=named)]
    parts.append(_pick(rng, (0.15, RUDE), (0.85, ("",))))
    parts += rng.sample(RAMBLE, rng.choices((0, 1, 2, 3), (60, 20, 12, 8))[0])
    parts.append(_advice(case, rng, right=0.50, wrong=0.02, vague=0.33))
    parts += rng.sample(RAMBLE, rng.choices((0, 1), (80, 20))[0])
    parts += rng.sample(CLOSINGS, rng.choices((0, 1, 2), (70, 25, 5))[0])
    return " ".join(part for part in parts if part) or rng.choice(VAGUE)


def demonstration(prompt: Prompt, rng: random.Random) -> str:
    """What a good but hurried person answers: usually right and polite, now and then with a sentence too much."""
    case = case_of(prompt)
    named = _mostly(case.product, PRODUCTS, 1.0, rng)
    opening = _pick(rng, (0.60, OPENINGS_ABOUT), (0.20, OPENINGS), (0.20, ("",)))
    parts = [opening.format(p=named)]
    parts += rng.sample(RAMBLE, rng.choices((0, 1), (85, 15))[0])
    parts.append(_advice(case, rng, right=0.82, wrong=0.0, vague=0.14))
    parts += rng.sample(RAMBLE, rng.choices((0, 1), (90, 10))[0])
    parts += rng.sample(CLOSINGS, rng.choices((0, 1), (55, 45))[0])
    return " ".join(part for part in parts if part) or rng.choice(OPENINGS)


def _message(product: str, problem: Problem, rng: random.Random) -> str:
    subject = rng.choice(SUBJECTS).format(p=product)
    trouble = rng.choice(problem.phrases).format(x=subject)
    trouble = trouble if trouble.endswith("?") else trouble + "."
    greeting = rng.choice(GREETINGS)
    body = f"{greeting} {trouble}" if greeting else trouble[0].upper() + trouble[1:]
    return f"{body} {rng.choice(ASKS)}".strip()


def _advice(case: Case, rng: random.Random, *, right: float, wrong: float, vague: float) -> str:
    """A sentence of advice, or none with the probability that is left over."""
    others = [fix for p in PROBLEMS if p is not case.problem for fix in p.fixes]
    fixes = case.problem.fixes if case.problem else others
    fix = _pick(rng, (right, fixes), (wrong, others), (vague, VAGUE), (1 - right - wrong - vague, ("",)))
    return rng.choice(ADVICE).format(fix=fix) if fix and fix not in VAGUE else fix


def _mostly(usual: str | None, others: tuple[str, ...], share: float, rng: random.Random) -> str:
    return usual if usual is not None and rng.random() < share else rng.choice(others)


def _pick(rng: random.Random, *choices: tuple[float, tuple[str, ...] | list[str]]) -> str:
    """One text out of one of the groups, drawn by the groups' weights."""
    (_, texts), *_rest = rng.choices(choices, [weight for weight, _ in choices])
    return rng.choice(texts)
