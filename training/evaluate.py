"""Several policies side by side on the same prompts: how they answer, what that scores, how far they drifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import answers, checkpoints, data, forward, models, prompts, reports
from training.answers import Answer
from training.generations import Generations
from training.inputs import trained_on
from training.lanes import Lanes, count_for
from training.policies import Scorer, SharedBase, load_scorer
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

    asked, accounts = {}, []
    for name, speaker in speakers.items():
        found, account = prompts.load(config, run.path, speaker.tokenizer, params.split, context=speaker.base.context)
        asked[name] = found[: params.limit]
        accounts.append(account)
    done: dict[str, Any] = {}
    tokens = 0
    if checkpoint := checkpoints.latest(run):
        done, tokens = checkpoint.state["figures"], checkpoint.state["tokens"]
    file = Generations(run.path)
    file.keep(list(done))
    missing = [name for name in speakers if name not in done]
    examiner = Examiner(config, run, speakers, scorer, asked)
    with Lanes([], examiner.examine, min(count_for(base.lm) for base in bases.values())) as lanes:
        for first in range(0, len(missing), len(lanes)):
            names = missing[first : first + len(lanes)]
            run.phase(" and ".join(names), max(len(asked[name]) for name in names))
            for name, given in zip(names, lanes.work(names), strict=True):
                written = examiner.answers(name, given["answers"])
                file.add(name, written, given["rewards"])
                done[name] = given["figures"]
                tokens += sum(len(each.ids) for each in written)
                run.log(len(done), **done[name])
                checkpoints.save(run, len(done), {}, {"figures": done, "tokens": tokens})
            run.progress(max(len(asked[name]) for name in names))  # a row of figures is a policy's, this is in prompts
            run.leave_if_stopped()

    rendered = data.render(next(iter(speakers.values())).tokenizer, next(iter(asked.values()))[0].ids, [])
    run.write_report(
        reports.common(run, config, accounts[:1], steps=len(done), tokens=tokens)
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


@dataclass(frozen=True)
class Examiner:
    """What is asked of each policy, and of its answers."""

    config: RunFile
    run: RunDir
    speakers: dict[str, Speaker]
    scorer: Scorer | None
    asked: dict[str, list[prompts.Prompt]]

    def examine(self, name: str) -> dict[str, Any]:
        """The answers of one policy, their rewards and its figures, as plain JSON; all policies draw from one seed."""
        params, speaker = self.config.params, self.speakers[name]
        written = answers.write_in_batches(
            speaker.base,
            speaker.adapter,
            self.asked[name],
            speaker.tokenizer,
            batch_size=max(1, params.batch_size // params.responses_per_prompt),
            seed=self.config.seed,
            run=self.run,
            max_new_tokens=params.max_new_tokens,
            temperature=params.temperature,
            top_p=params.top_p,
            samples=params.responses_per_prompt,
        )
        rewards = None
        if self.scorer:
            answered, pad_id = [each.answered for each in written], speaker.tokenizer.pad_token_id
            rewards = answers.scores(self.scorer, answered, params.batch_size, pad_id).tolist()
        reference = next(policy.reference for policy in params.policies if policy.name == name)
        figures = measure(written, rewards, speaker, self.speakers.get(reference or ""), params)
        said = [[each.text, each.ids, each.finish, each.logp] for each in written]
        return {"answers": said, "rewards": rewards, "figures": figures}

    def answers(self, name: str, found: Sequence[Sequence[Any]]) -> list[Answer]:
        """The same answers with their prompts, those to one prompt side by side."""
        samples = self.config.params.responses_per_prompt
        return [Answer(self.asked[name][row // samples], *each) for row, each in enumerate(found)]


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
