"""What a policy experiences in one step of PPO: its answers, and what every token of them was worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training import advantages, answers, forward, losses, rollout
from training.advantages import ScoreScale
from training.company import Players
from training.forward import Answered
from training.policies import SharedBase
from training.prompts import Prompt
from training.rundir import RunDir
from training.runfile import RunFile

NORM_ANSWERS = 256  # answers of the reference policy that fix the scale of the reward


@dataclass(frozen=True)
class Experience:
    """One step's answers and what they were worth; (N, T) tensors are zero past the end of an answer."""

    answered: list[Answered]
    mask: Tensor  # (N, T)
    logps: Tensor  # (N, T) under the policy that wrote them
    values: Tensor  # (N, T) before learning
    advantages: Tensor  # (N, T)
    returns: Tensor  # (N, T)
    metrics: dict[str, float]


def reference_scale(players: Players, learn: Sequence[Prompt], config: RunFile, run: RunDir) -> ScoreScale:
    """The scale of the reward: mean 0 and deviation 1 on the reference policy's own answers."""
    params = config.params
    if not params.reward_norm:
        return ScoreScale()
    run.phase("reference")
    asked = [learn[row % len(learn)] for row in range(NORM_ANSWERS)]
    written = answers.write_in_batches(
        players.reference_base, players.reference, asked, players.tokenizer, run=run,
        batch_size=params.rollout_batch, seed=config.seed + 1,
        max_new_tokens=params.max_new_tokens, temperature=params.temperature,
    )  # fmt: skip
    answered = [answer.answered for answer in written]
    return ScoreScale.of(answers.scores(players.scorer, answered, params.minibatch, players.pad_id))


def pick(learn: Sequence[Prompt], step: int, count: int, seed: int) -> list[Prompt]:
    """The prompts of a step: every prompt once an epoch, in an order that only depends on the seed."""
    chosen: list[Prompt] = []
    for place in range((step - 1) * count, step * count):
        epoch, row = divmod(place, len(learn))
        if not chosen or row == 0:
            generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
            order = torch.randperm(len(learn), generator=generator).tolist()
        chosen.append(learn[order[row]])
    return chosen


@torch.no_grad()
def gather(players: Players, batch: Sequence[Prompt], scale: ScoreScale, beta: float, *, seed: int) -> Experience:
    """Answer the prompts with the policy as it is, and work out what each token was worth."""
    params, base = players.params, players.base
    with base.answering_as(players.policy) as lm:
        rolled = rollout.sample(
            lm,
            [prompt.ids for prompt in batch],
            stop=rollout.stop_ids(lm, players.tokenizer),
            pad_id=players.pad_id,
            max_new_tokens=params.max_new_tokens,
            temperature=params.temperature,
            generator=torch.Generator(base.device).manual_seed(seed % 2**63),
        )
    answered = list(zip(rolled.prompts, rolled.answers(), strict=True))

    def logps_as(who: SharedBase, name: str | None) -> Tensor:
        def compute(rows: list[Answered]) -> Tensor:
            packed = players.pack(rows)
            with who.answering_as(name) as lm:
                return packed.per_answer(forward.given_logps(lm, packed, temperature=params.temperature))

        return answers.in_batches(answered, params.minibatch, compute)

    # In bfloat16 the kernels of generation and of training differ by more than a ratio may.
    exact = base.lm.dtype == torch.float32
    logps = rolled.logps if exact else logps_as(base, players.policy)
    ref_logps = logps_as(players.reference_base, players.reference)
    values = answers.in_batches(answered, params.minibatch, lambda rows: players.value(players.pack(rows)))
    scores = answers.scores(players.scorer, answered, params.minibatch, players.pad_id)
    mask = rolled.mask
    kl = losses.kl_k1(logps, ref_logps) * mask
    earned = scale(scores) - params.missing_eos_penalty * (~rolled.ended)
    rewards = advantages.token_rewards(kl, earned, rolled.lengths, beta=beta)
    advantage, returns = advantages.gae(rewards, values, mask, gamma=params.gamma, lam=params.lam)
    lengths = rolled.lengths.float()
    low, high = lengths.quantile(torch.tensor([0.1, 0.9], device=lengths.device)).tolist()
    metrics = {
        "reward": scale(scores).mean().item(),
        "score": scores.mean().item(),
        "kl": kl.sum(dim=1).mean().item(),
        "kl3": (losses.kl_k3(logps, ref_logps) * mask).sum(dim=1).mean().item(),
        "explained_variance": advantages.explained_variance(values, returns, mask),
        "length": lengths.mean().item(),
        "length_p10": low,
        "length_p90": high,
        "eos_rate": rolled.ended.float().mean().item(),
    }
    advantage = advantages.whiten(advantage, mask) if params.whiten else advantage
    return Experience(answered, mask, logps, values, advantage, returns, metrics)
