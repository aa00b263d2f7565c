"""Best of n: a policy answers each prompt many times, a reward model scores the answers, and the best is kept.

What is kept is written as generations, and so can be imitated, compared, or made into tasks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from training import answers, data, generate, models, prompts, reports
from training.answers import Answer
from training.generations import Generations
from training.policies import POLICY, Scorer, SharedBase, load_scorer
from training.prompts import Prompt
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile


def train(config: RunFile, run: RunDir) -> None:
    """Write generations.jsonl; a run that was stopped goes on with the batch where it stood."""
    params = config.params
    assert config.base_model is not None and config.reward_model is not None
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    base, policy = SharedBase(config.base_model.path, config.hardware), None
    if config.start_adapter:
        base.load(POLICY, config.start_adapter.path)
        policy = POLICY
    path = config.reward_model.path
    scorer = load_scorer(path, base, config.base_model.path, config.hardware, tokenizer, params.caution)
    asked, account = prompts.load(config, run.path, tokenizer, params.split, context=base.context)
    asked = asked[: params.limit]
    file = Generations(run.path)
    file.keep([config.name])
    # Batches are cut by the plan alone, and each has a seed of its own: what is missing can be written at any time.
    size = max(1, params.batch_size // params.samples)
    starts = range(0, len(asked), size)
    run.phase("answering", len(asked))
    for start in starts:
        run.leave_if_stopped()
        batch = asked[start : start + size]
        if not all(file.has(config.name, prompt.id) for prompt in batch):
            seed = (config.seed * 1_000_003 + start) % 2**63
            written, rewards = answered(base, policy, batch, tokenizer, scorer, params, seed=seed)
            mean, best = figures_of(rewards, params.samples)
            run.log(start // size + 1, reward=best, mean_reward=mean, **drift_bound(params.samples))
            file.add(config.name, *picked(written, rewards, chosen(rewards, params.samples, params.keep)))
            run.progress(start + len(batch))
    found = file.responses(config.name)
    run.write_report(
        reports.common(run, config, [account], steps=len(starts), tokens=sum(row["tokens"] for row in found))
        | {
            "train": {},
            "eval": figures(found, read_metrics(run.path)) | drift_bound(params.samples),
            "sample_rendered": data.render(tokenizer, asked[0].ids, []),
            "warnings": generate.warnings(found),
        }
    )


def answered(
    base: SharedBase,
    policy: str | None,
    batch: Sequence[Prompt],
    tokenizer: Any,
    scorer: Scorer,
    params: Any,
    *,
    seed: int,
) -> tuple[list[Answer], list[float]]:
    """(answers, side by side for each prompt; what each is worth)."""
    written = answers.write(
        base, policy, batch, tokenizer,
        seed=seed, max_new_tokens=params.max_new_tokens,
        temperature=params.temperature, top_p=params.top_p, samples=params.samples,
    )  # fmt: skip
    rows = [answer.answered for answer in written]
    return written, answers.scores(scorer, rows, params.batch_size, tokenizer.pad_token_id).tolist()


def figures(found: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was kept, and what was earned with it; `rows` are the metrics of all batches."""
    return {
        "n": len(found),
        "reward": mean_of(rows, "reward"),
        "mean_reward": mean_of(rows, "mean_reward"),
        "length": sum(row["tokens"] for row in found) / len(found),
        "eos_rate": sum(row["finish"] == "eos" for row in found) / len(found),
    }


def chosen(rewards: Sequence[float], samples: int, keep: str) -> list[int]:
    """The places of the answers that are kept: of each prompt's `samples` the best, or the best and then the worst."""
    kept = []
    for start in range(0, len(rewards), samples):
        places = range(start, start + samples)
        kept.append(max(places, key=lambda place: rewards[place]))
        if keep == "best_and_worst":
            kept.append(min(reversed(places), key=lambda place: rewards[place]))
    return kept


def picked(
    written: Sequence[Answer], rewards: Sequence[float], kept: Sequence[int]
) -> tuple[list[Answer], list[float]]:
    return [written[place] for place in kept], [rewards[place] for place in kept]


def figures_of(rewards: Sequence[float], samples: int) -> tuple[float, float]:
    """(mean reward of all answers, mean reward of the best of each prompt)."""
    best = [max(rewards[start : start + samples]) for start in range(0, len(rewards), samples)]
    return sum(rewards) / len(rewards), sum(best) / len(best)


def drift_bound(samples: int) -> dict[str, float]:
    """KL of best-of-n to the policy, at most: log n - (n - 1) / n nats, Stiennon et al. (2020) appendix G.3."""
    return {"kl": math.log(samples) - (samples - 1) / samples}


def mean_of(rows: Sequence[dict[str, Any]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
