"""What a policy experiences in one step of PPO: its answers, and what every token of them was worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from training import advantages, answers, forward, losses, rollout
from training.advantages import ScoreScale
from training.company import Players
from training.forward import Answered
from training.lanes import Lanes
from training.policies import SharedBase
from training.prompts import Prompt
from training.rundir import RunDir
from training.runfile import RunFile

NORM_ANSWERS = 256  # answers of the reference policy that fix the scale of the reward
LANE_SEEDS = 1_000_000_007  # between the seeds of two lanes, far from those of other steps


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


def gather(
    players: Players,
    batch: Sequence[Prompt],
    scale: ScoreScale,
    beta: float,
    *,
    seed: int,
    lanes: Lanes | None = None,
) -> Experience:
    """Answer the prompts with the policy as it is, in lanes where there are some, and work out what tokens were worth.

    Every lane draws numbers of its own, so that the same seed gives the same answers with as many lanes.
    """
    parts = lanes.split(batch) if lanes else [batch]
    jobs = [
        {"asked": [prompt.ids for prompt in part], "seed": (seed + lane * LANE_SEEDS) % 2**63}
        for lane, part in enumerate(parts)
    ]
    found = lanes.work(jobs) if lanes else [tell(players, job) for job in jobs]
    return weigh(players, Told.of(found, players.base.device), scale, beta)


@dataclass(frozen=True)
class Told:
    """Answers to N prompts, and what was said of them; (N, T) tensors are zero past the end of an answer."""

    answered: list[Answered]
    lengths: Tensor  # (N,) tokens
    ended: Tensor  # (N,) bool
    scores: Tensor  # (N,) raw
    logps: Tensor  # (N, T)
    ref_logps: Tensor  # (N, T)
    values: Tensor  # (N, T)

    @property
    def mask(self) -> Tensor:
        return torch.arange(self.logps.shape[1], device=self.lengths.device) < self.lengths[:, None]

    @classmethod
    def of(cls, parts: Sequence[dict[str, Any]], device: torch.device) -> Told:
        """What `tell` returned of each part, in that order."""

        def all_of(name: str) -> list[Any]:
            return [each for part in parts for each in part[name]]

        answered = [(prompt, answer) for prompt, answer in all_of("answered")]
        known = {name: torch.tensor(all_of(name), device=device) for name in ("ended", "scores")}
        lengths = torch.tensor([len(answer) for _, answer in answered], device=device)
        known |= {
            name: pad_sequence([torch.tensor(row, device=device) for row in all_of(name)], batch_first=True)
            for name in ("logps", "ref_logps", "values")
        }
        return cls(answered, lengths, **known)


@torch.no_grad()
def tell(players: Players, job: dict[str, Any]) -> dict[str, Any]:
    """What a lane does: answer the prompts `asked` by `seed`, and say of every token how likely policy and reference
    find it and what the value expects, of every answer whether it ended and its score; all as plain numbers.
    """
    params, base = players.params, players.base
    with base.answering_as(players.policy) as lm:
        rolled = rollout.sample(
            lm,
            job["asked"],
            stop=rollout.stop_ids(lm, players.tokenizer),
            pad_id=players.pad_id,
            max_new_tokens=params.max_new_tokens,
            temperature=params.temperature,
            generator=torch.Generator(base.device).manual_seed(job["seed"]),
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
    said = {
        "logps": rolled.logps if exact else logps_as(base, players.policy),
        "ref_logps": logps_as(players.reference_base, players.reference),
        "values": answers.in_batches(answered, params.minibatch, lambda rows: players.value(players.pack(rows))),
    }
    lengths = rolled.lengths.tolist()
    each = {name: [row[:length] for row, length in zip(of.tolist(), lengths, strict=True)] for name, of in said.items()}
    scores = answers.scores(players.scorer, answered, params.minibatch, players.pad_id)
    return each | {"answered": answered, "ended": rolled.ended.tolist(), "scores": scores.tolist()}


def weigh(players: Players, told: Told, scale: ScoreScale, beta: float) -> Experience:
    """What every token was worth by the scores, the drift from the reference at the price `beta`, and the value."""
    params, mask = players.params, told.mask
    kl = losses.kl_k1(told.logps, told.ref_logps) * mask
    earned = scale(told.scores) - params.missing_eos_penalty * (~told.ended)
    rewards = advantages.token_rewards(kl, earned, told.lengths, beta=beta)
    advantage, returns = advantages.gae(rewards, told.values, mask, gamma=params.gamma, lam=params.lam)
    lengths = told.lengths.float()
    low, high = lengths.quantile(torch.tensor([0.1, 0.9], device=lengths.device)).tolist()
    metrics = {
        "reward": scale(told.scores).mean().item(),
        "score": told.scores.mean().item(),
        "kl": kl.sum(dim=1).mean().item(),
        "kl3": (losses.kl_k3(told.logps, told.ref_logps) * mask).sum(dim=1).mean().item(),
        "explained_variance": advantages.explained_variance(told.values, returns, mask),
        "length": lengths.mean().item(),
        "length_p10": low,
        "length_p90": high,
        "eos_rate": told.ended.float().mean().item(),
    }
    advantage = advantages.whiten(advantage, mask) if params.whiten else advantage
    return Experience(told.answered, mask, told.logps, told.values, advantage, returns, metrics)
