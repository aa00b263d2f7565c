"""The least time the reference work can take: its arithmetic over the measured rate of matrix products."""

from bench.parts.reference import Texts, Work


def per_row(method: str, work: Work, rows: Texts) -> float:
    """Operations of one row, on average over `rows`."""
    return sum(operations(method, work, len(p), len(c) + 1, len(r) + 1) for p, c, r in rows) / len(rows)


def operations(method: str, work: Work, prompt: int, chosen: int, rejected: int) -> float:
    """Multiplications and additions of one row: nothing padded, the prompt of a pair once, references known.

    A frozen weight costs 2 forward and 2 for the gradient of its input; an adapter's 2 more for its own gradient.
    Causal attention looks at half of all pairs of tokens, forward 2 products and 5 backward. Of the last layer a reward
    model needs keys and values alone, but for the ends of the answers, and the others nothing else of the prompt.
    """
    answers = [chosen] if method == "sft" else [chosen, rejected]
    tokens = prompt + sum(answers)
    linear = tokens * (4.0 * work.layer_weights + 6.0 * work.adapter_weights)
    seen = prompt**2 / 2 + sum(answer * prompt + answer**2 / 2 for answer in answers)
    attention = 7 * 2.0 * work.hidden * seen * work.layers
    head = 0.0 if method == "reward" else 4.0 * sum(answers) * work.vocabulary * work.hidden
    spared = tokens - len(answers) if method == "reward" else prompt - 1
    return linear + attention + head - spared * _behind_keys(work)


def _behind_keys(work: Work) -> float:
    """What a token of the last layer costs beyond its keys and values; the adapter there is left out of the account."""
    return 4.0 * (work.layer_weights / work.layers - 2 * work.hidden**2)


def answering(work: Work, prompt: float, answer: float, samples: int = 1) -> float:
    """Operations of writing one answer: the adapter in the weights, the prompt once for all answers to it."""
    seen = prompt**2 / 2 / samples + answer * prompt + answer**2 / 2
    tokens = prompt / samples + answer
    attention = 4.0 * work.hidden * seen * work.layers
    return 2.0 * tokens * work.layer_weights + attention + 2.0 * answer * work.vocabulary * work.hidden


def experience(work: Work, prompt: float, answer: float, epochs: int) -> float:
    """Operations of one answer in PPO: written, scored, read by reference and value, learnt by policy and value."""
    tokens = prompt + answer
    attention = 2.0 * work.hidden * (tokens**2 / 2) * work.layers  # one product
    head = 2.0 * answer * work.vocabulary * work.hidden
    reading = 2.0 * tokens * work.layer_weights + 2 * attention
    learning = tokens * (4.0 * work.layer_weights + 6.0 * work.adapter_weights) + 7 * attention
    return answering(work, prompt, answer) + 3 * reading + head + epochs * (2 * learning + 2 * head)
