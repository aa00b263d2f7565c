"""Best-of-n, and the best that any policy can make of a reward model: python -m bench.parts.learning_best '{...}'"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from bench.parts import learning_world
from bench.parts.learning_hone import start
from bench.parts.learning_world import Demo

PRICES = (2.0, 1.0, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)  # of a nat, in deviations of the reward


def main() -> None:
    order = json.loads(sys.argv[1])
    Path(order["out"]).write_text(json.dumps(best_of_n(learning_world.find(Path(order["data"])), order)))


def best_of_n(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """True utility of the best of n answers by the reward model, for every n, from `most` answers to each prompt.

    With the answers ordered by score, the best of n drawn from all is the i-th with chance C(i-1, n-1) / C(most, n).
    Its KL to the policy it draws from is at most log n - (n - 1) / n: Beirami et al. (2024). `kl` is an
    estimate of the KL itself, see `best_kl`.
    """
    from training import answers, data, models
    from training.policies import SharedBase, SharedScorer
    from training.prompts import Prompt

    most, config = order["most"], start(demo, order, "ppo")[0]
    models.prepare(config.hardware, order["seed"])
    tokenizer = models.load_tokenizer(config, Path(order["folder"]))
    base = SharedBase(demo.start, config.hardware)
    scorer = SharedScorer(base, demo.reward)
    asked = [
        Prompt(row["id"], row["prompt"], data.encode_prompt(tokenizer, row["prompt"]))
        for row in demo.prompts(order["prompts"])
    ]
    written = answers.write_in_batches(
        base, None, asked, tokenizer, batch_size=4, seed=order["seed"], samples=most,
        max_new_tokens=learning_world.ANSWER_TOKENS,
    )  # fmt: skip
    scores = answers.scores(scorer, [each.answered for each in written], 128, tokenizer.pad_token_id).tolist()
    worth = [demo.truth.utility(each.prompt.messages, each.text) for each in written]
    points = []
    for n in (2**power for power in range(int(math.log2(most)) + 1)):
        chances = [math.comb(i, n - 1) / math.comb(most, n) for i in range(most)]
        total = dict.fromkeys(("utility", "score", "kl"), 0.0)
        for first in range(0, len(written), most):
            order_of = sorted(range(first, first + most), key=scores.__getitem__)
            drifted = best_kl([math.exp(written[row].logp) for row in order_of], [scores[row] for row in order_of], n)
            for chance, row, drift in zip(chances, order_of, drifted, strict=True):
                total["utility"] += chance * worth[row]
                total["score"] += chance * scores[row]
                total["kl"] += chance * drift
        bound = math.log(n) - (n - 1) / n
        points.append({"n": n, "bound": bound} | {key: value / len(asked) for key, value in total.items()})
    groups = [slice(first, first + most) for first in range(0, len(written), most)]
    return {
        "points": points,
        "optimum": tilted([scores[group] for group in groups], [worth[group] for group in groups]),
    }


def tilted(scores: list[list[float]], worth: list[list[float]]) -> list[dict[str, float]]:
    """What the best policy for the reward model has at each price of a nat: pi(y) ~ pi_ref(y) exp(score / beta).

    Ziegler et al. (2019), section 2.1; estimated with the answers weighed by importance, prompt by prompt. `beta` is
    in deviations of the scores. Many answers are needed where few of them weigh much: that is where the curve stops.
    """
    deviation = statistics.stdev(score for group in scores for score in group)
    found = []
    for beta in PRICES:
        total = dict.fromkeys(("utility", "score", "kl"), 0.0)
        for group, values in zip(scores, worth, strict=True):
            logits = [score / (beta * deviation) for score in group]
            most = max(logits)
            chances = [math.exp(logit - most) for logit in logits]
            whole = sum(chances)
            for chance, score, value in zip(chances, group, values, strict=True):
                share = chance / whole
                total["utility"] += share * value
                total["score"] += share * score
                total["kl"] += share * math.log(max(share, 1e-300) * len(group))
        point = {key: value / len(scores) for key, value in total.items()}
        if point["kl"] > math.log(len(scores[0])) / 2:
            break
        found.append({"beta": beta} | point)
    return found


def best_kl(chances: list[float], scores: list[float], n: int) -> list[float]:
    """By how much the best of n likes each of some answers more than the policy that wrote them does, in nats.

    An answer of chance p among answers of which a share F scores lower is the best of n with chance (F + p)^n - F^n,
    Beirami et al. (2024). `chances` are exact; F is counted among the answers, which are in order of score
    and of which those with the same score are taken for one.
    """
    found = []
    for chance, score in zip(chances, scores, strict=True):
        below = sum(other < score for other in scores) / len(scores)
        share = max(min(chance, 1 - below), 1e-300)
        # A long answer's chance is far below what a difference of two powers can show.
        growth = (
            math.log(math.expm1(n * math.log1p(share / below))) + n * math.log(below) if below else n * math.log(share)
        )
        found.append(growth - math.log(share))
    return found


if __name__ == "__main__":
    main()
