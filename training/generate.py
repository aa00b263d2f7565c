"""Answers of one policy to many prompts, for people to judge."""

from __future__ import annotations

from typing import Any

from training import answers, data, models, prompts, reports
from training.generations import Generations
from training.policies import POLICY, SharedBase, load_scorer
from training.rundir import RunDir
from training.runfile import RunFile


def train(config: RunFile, run: RunDir) -> None:
    """Write generations.jsonl; a run that was stopped goes on with the batch where it stood."""
    params = config.params
    assert config.base_model is not None
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    base = SharedBase(config.base_model.path, config.hardware)
    policy = None
    if config.start_adapter:
        base.load(POLICY, config.start_adapter.path)
        policy = POLICY
    scorer = None
    if config.reward_model:
        scorer = load_scorer(config.reward_model.path, base, config.base_model.path, config.hardware, tokenizer)
    asked, account = prompts.load(config, run.path, tokenizer, params.split, context=base.context)
    asked = asked[: params.limit]

    file = Generations(run.path)
    file.keep([config.name])
    # Batches are cut by the plan alone, and each has a seed of its own: what is missing can be written at any time.
    size = max(1, params.batch_size // params.responses_per_prompt)
    starts = range(0, len(asked), size)
    run.phase("answering", len(asked))
    for start in starts:
        run.leave_if_stopped()
        batch = asked[start : start + size]
        if all(file.has(config.name, prompt.id) for prompt in batch):
            continue
        written = answers.write(
            base,
            policy,
            batch,
            tokenizer,
            seed=(config.seed * 1_000_003 + start) % 2**63,
            max_new_tokens=params.max_new_tokens,
            temperature=params.temperature,
            top_p=params.top_p,
            samples=params.responses_per_prompt,
        )
        rewards = None
        if scorer:
            answered = [answer.answered for answer in written]
            rewards = answers.scores(scorer, answered, params.batch_size, tokenizer.pad_token_id).tolist()
        file.add(config.name, written, rewards)
        run.log(start // size + 1, answers=len(written), length=sum(len(a.ids) for a in written) / len(written))
        run.progress(start + len(batch))

    found = file.responses(config.name)
    run.write_report(
        reports.common(run, config, [account], steps=len(starts), tokens=sum(row["tokens"] for row in found))
        | {
            "train": {},
            "eval": figures(found),
            "sample_rendered": data.render(tokenizer, asked[0].ids, []),
            "warnings": warnings(found),
        }
    )


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The means over all answers."""
    result = {
        "n": len(found),
        "length": sum(row["tokens"] for row in found) / len(found),
        "eos_rate": sum(row["finish"] == "eos" for row in found) / len(found),
    }
    if "reward" in found[0]:
        result["reward"] = sum(row["reward"] for row in found) / len(found)
    return result


def warnings(found: list[dict[str, Any]]) -> list[str]:
    cut = sum(row["finish"] == "length" for row in found) / len(found)
    if cut > 0.2:
        return [f"{cut:.0%} of the answers were cut off: raise params.max_new_tokens."]
    return []
