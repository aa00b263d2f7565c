"""Several policies side by side on the same prompts: how they answer, what that scores, how far they drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import answers, checkpoints, data, forward, models, prompts, reports
from training.answers import Answer
from training.data import RowAccount
from training.generations import Generations
from training.policies import Scorer, SharedBase, load_scorer, trained_on
from training.rundir import RunDir
from training.runfile import PolicyRef, RunFile


@dataclass(frozen=True)
class Speaker:
    """One policy: the base it lives on and the adapter it speaks through."""

    base: SharedBase
    adapter: str | None
    tokenizer: Any

    def speaking(self) -> Any:
        return self.base.speaking_as(self.adapter)


def train(config: RunFile, run: RunDir) -> None:
    """Write generations.jsonl and the figures of every policy; a stopped run goes on with the policy where it stood."""
    params = config.params
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    bases: dict[Path, SharedBase] = {}
    speakers = {policy.name: load_speaker(policy, bases, config, run) for policy in params.policies}
    scorer = None
    if config.reward_model:
        scorer = find_scorer(config, bases, speakers[params.policies[0].name].tokenizer)

    done: dict[str, Any] = {}
    tokens = 0
    if checkpoint := checkpoints.latest(run):
        done, tokens = checkpoint.state["figures"], checkpoint.state["tokens"]
    file = Generations(run.path)
    file.keep(list(done))
    accounts: dict[str, RowAccount] = {}
    rendered = ""
    for number, policy in enumerate(params.policies, start=1):
        speaker = speakers[policy.name]
        asked, account = prompts.load(config, run.path, speaker.tokenizer, params.split, context=speaker.base.context)
        asked = asked[: params.limit]
        accounts.setdefault(policy.name, account)
        rendered = rendered or data.render(speaker.tokenizer, asked[0].ids, [])
        if policy.name in done:
            continue
        run.phase(policy.name, len(asked))
        written = answer(speaker, asked, config, run)
        answered = [each.answered for each in written]
        rewards = None
        if scorer:
            pad_id = speaker.tokenizer.pad_token_id
            rewards = answers.scores(scorer, answered, params.batch_size, pad_id).tolist()
        file.add(policy.name, written, rewards)
        done[policy.name] = measure(written, rewards, speaker, speakers.get(policy.reference or ""), params)
        tokens += sum(len(each.ids) for each in written)
        run.log(number, **done[policy.name])
        run.progress(len(asked))  # the row of figures is a policy's, the progress shown is in prompts
        checkpoints.save(run, number, {}, {"figures": done, "tokens": tokens})
        run.leave_if_stopped()

    run.write_report(
        reports.common(run, config, [next(iter(accounts.values()))], steps=len(done), tokens=tokens)
        | {
            "train": {},
            "eval": {"policies": done},
            "sample_rendered": rendered,
            "warnings": [f"{name}: {text}" for name in done for text in warnings(done[name])],
        }
    )


def load_speaker(policy: PolicyRef, bases: dict[Path, SharedBase], config: RunFile, run: RunDir) -> Speaker:
    """The policy on its base; policies on one base share it in memory."""
    folder = policy.base_model.path.resolve()
    place = folder
    if policy.adapter and folder in bases and not bases[folder].holds(policy.adapter.path):
        place = folder / policy.name  # of another family than those there: a base of its own
    if place not in bases:
        bases[place] = SharedBase(folder, config.hardware)
    base = bases[place]
    adapter, written = None, folder
    if policy.adapter:
        adapter = f"policy-{len(base.names)}"
        base.load(adapter, policy.adapter.path)
        if (policy.adapter.path / "tokenizer_config.json").is_file():
            written = policy.adapter.path
    return Speaker(base, adapter, models.load_tokenizer(config, run.path, written))


def find_scorer(config: RunFile, bases: dict[Path, SharedBase], tokenizer: Any) -> Scorer:
    """The reward model, on the base that it was trained on where a policy already brought that into memory."""
    assert config.reward_model is not None
    reward = config.reward_model.path
    folder = next(iter(bases))
    if models.is_adapter(reward):
        folder = next((known for known in bases if known.is_dir() and trained_on(reward, known)), folder)
    return load_scorer(reward, bases[folder], folder, config.hardware, tokenizer)


def answer(speaker: Speaker, asked: Sequence[prompts.Prompt], config: RunFile, run: RunDir) -> list[Answer]:
    """The policy's answers; every policy draws from the same seed."""
    params = config.params
    return answers.write_in_batches(
        speaker.base,
        speaker.adapter,
        asked,
        speaker.tokenizer,
        batch_size=max(1, params.batch_size // params.responses_per_prompt),
        seed=config.seed,
        run=run,
        max_new_tokens=params.max_new_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        samples=params.responses_per_prompt,
    )


def measure(
    written: Sequence[Answer], rewards: Sequence[float] | None, speaker: Speaker, reference: Speaker | None, params: Any
) -> dict[str, Any]:
    """The figures of one policy, means over its answers."""
    ids = [each.ids for each in written]
    kl = kl_k3 = None
    if reference:
        device, pad_id = speaker.base.device, speaker.tokenizer.pad_token_id
        drifted = answers.in_batches([each.answered for each in written], params.batch_size, lambda rows: answers.drift(
            speaker.speaking,
            reference.speaking,
            forward.pack_answers(rows, pad_id, device),
            temperature=params.temperature or 1.0,  # greedy answers are compared as the policies are
        ))  # fmt: skip
        kl, kl_k3 = drifted.mean(dim=0).tolist()
    return {
        "reward": sum(rewards) / len(rewards) if rewards else None,
        "length": sum(map(len, ids)) / len(ids),
        "kl": kl,
        "kl_k3": kl_k3,
        "eos_rate": sum(each.finish == "eos" for each in written) / len(written),
        "distinct_1": answers.distinct(ids, 1),
        "distinct_2": answers.distinct(ids, 2),
        "n": len(written),
    }


def warnings(row: dict[str, Any]) -> list[str]:
    if row["eos_rate"] < 0.8:
        return [f"{1 - row['eos_rate']:.0%} of the answers were cut off: raise params.max_new_tokens."]
    return []
