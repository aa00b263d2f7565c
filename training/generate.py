"""Answers of one policy to many prompts, for people to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training import answers, data, models, prompts, reports
from training.answers import Answer
from training.generations import Generations
from training.lanes import Lanes, count_for
from training.policies import POLICY, Scorer, SharedBase, load_scorer
from training.prompts import Prompt
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
    missing = [at for at in starts if not all(file.has(config.name, p.id) for p in asked[at : at + size])]
    run.phase("answering", len(asked))
    answerer = Answerer(base, policy, scorer, asked, tokenizer, config)
    with Lanes([], answerer.answer, count_for(base.lm)) as lanes:
        for several in range(0, len(missing), len(lanes)):
            run.leave_if_stopped()
            jobs = [[start, start + size] for start in missing[several : several + len(lanes)]]
            for (start, _), found in zip(jobs, lanes.work(jobs), strict=True):
                written = answerer.answers(start, found["answers"])
                file.add(config.name, written, found["rewards"])
                length = sum(len(answer.ids) for answer in written) / len(written)
                run.log(start // size + 1, answers=len(written), length=length)
                run.progress(min(start + size, len(asked)))

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


@dataclass(frozen=True)
class Answerer:
    """A policy, and what judges its answers where something does, before the prompts of a run."""

    base: SharedBase
    policy: str | None
    scorer: Scorer | None
    asked: Sequence[Prompt]
    tokenizer: Any
    config: RunFile

    def answer(self, part: Sequence[int]) -> dict[str, Any]:
        """The answers to the prompts from one place to another, and their rewards, as plain JSON."""
        params = self.config.params
        written = answers.write(
            self.base,
            self.policy,
            self.asked[slice(*part)],
            self.tokenizer,
            seed=(self.config.seed * 1_000_003 + part[0]) % 2**63,
            max_new_tokens=params.max_new_tokens,
            temperature=params.temperature,
            top_p=params.top_p,
            samples=params.responses_per_prompt,
        )
        rewards = None
        if self.scorer:
            answered, pad_id = [answer.answered for answer in written], self.tokenizer.pad_token_id
            rewards = answers.scores(self.scorer, answered, params.batch_size, pad_id).tolist()
        return {"answers": [[each.text, each.ids, each.finish, each.logp] for each in written], "rewards": rewards}

    def answers(self, start: int, found: Sequence[Sequence[Any]]) -> list[Answer]:
        """The same answers with their prompts, those to one prompt side by side."""
        samples = self.config.params.responses_per_prompt
        return [Answer(self.asked[start + row // samples], *each) for row, each in enumerate(found)]


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
