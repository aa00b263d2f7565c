"""The updates of one step of PPO: some passes over its answers, every minibatch computed in lanes.

A lane is told the answers that it computes and what their tokens were worth, as plain numbers, and adds the gradients
of policy and value; the process that leads moves the weights. The same lanes write the answers before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from training import forward, losses
from training.company import Players
from training.experience import Experience, tell
from training.forward import Batch
from training.lanes import Lanes, Learn
from training.rundir import RunDir

RATIO_TOLERANCE = 1e-2  # how far the first ratio may be from 1 before somebody should know
WORTH = ("logps", "values", "advantages", "returns")
Worth = dict[str, Tensor]  # those of some answers, (A, T) each


def improve(
    lanes: Lanes,
    players: Players,
    experience: Experience,
    policy_optimizer: torch.optim.Optimizer | None,
    value_optimizer: torch.optim.Optimizer,
    run: RunDir,
    step: int,
    *,
    seed: int,
) -> dict[str, float]:
    """Some passes over a step's answers; without a policy optimizer only the value learns. Returns metrics."""
    params, most = players.params, players.params.max_grad_norm
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    found: list[dict[str, float]] = []
    for _ in range(params.ppo_epochs):
        for rows in torch.randperm(len(experience.answered), generator=generator).split(params.minibatch):
            row = gradients(lanes, experience, rows.tolist(), policy=policy_optimizer is not None)
            row["value_grad_norm"] = take_step(value_optimizer, players.value.weights(), most)
            if policy_optimizer:
                row["grad_norm"] = take_step(policy_optimizer, players.policy_weights(), most)
                if not found and abs(row["ratio_max"] - 1) > RATIO_TOLERANCE:
                    run.say("warning", f"The ratio was {row['ratio_max']:.4f} before any update of step {step}.")
            run.require_finite(step, **row)
            found.append(row)
    means = {name: sum(row[name] for row in found) / len(found) for name in found[0]}
    return means | ({"ratio_max": max(row["ratio_max"] for row in found)} if policy_optimizer else {})


def gradients(lanes: Lanes, experience: Experience, rows: Sequence[int], *, policy: bool = True) -> dict[str, float]:
    """Those of a minibatch, in the weights; returns its metrics."""
    lengths = experience.mask.sum(dim=1).tolist()
    sizes = [sum(map(len, experience.answered[row])) for row in rows]
    told: dict[str, Any] = {"policy": policy, "tokens": sum(lengths[row] for row in rows)}
    jobs = []
    for part in lanes.split(rows, sizes):
        worth = {name: [getattr(experience, name)[row, : lengths[row]].tolist() for row in part] for name in WORTH}
        jobs.append(told | worth | {"answered": [experience.answered[row] for row in part]})
    return _together(lanes.work(jobs))


def learner(players: Players) -> Learn:
    """What a lane does: answer some prompts, or add the gradients of some answers of a minibatch, in parts."""

    def learn(job: dict[str, Any]) -> dict[str, Any]:
        if "asked" in job:
            return tell(players, job)
        answered = [(prompt, answer) for prompt, answer in job["answered"]]
        found = []
        for picked in players.parted(answered, range(len(answered))):
            batch = players.pack([answered[row] for row in picked])
            worth = {name: _per_answer(batch, [job[name][row] for row in picked]) for name in WORTH}
            share = len(batch.targets) / job["tokens"]  # so that shares of means add up to the minibatch's mean
            row = value_gradients(players, batch, worth, share)
            if job["policy"]:
                row |= policy_gradients(players, batch, worth, share)
            found.append(row)
        return _together(found)

    return learn


def policy_gradients(players: Players, batch: Batch, worth: Worth, share: float) -> dict[str, float]:
    """What some answers add to the gradients and to the metrics of the policy."""
    params, mask = players.params, _mask(batch)
    with players.base.speaking_as(players.policy) as lm:
        tokens, entropy = forward.token_logps(lm, batch, temperature=params.temperature)
        logps = batch.per_answer(tokens)
        loss, ratio = losses.policy_loss(logps, worth["logps"], worth["advantages"], mask, clip=params.clip)
        (share * loss).backward()
    return {
        "policy_loss": share * loss.item(),
        "entropy": share * entropy.mean().item(),
        "clip_fraction": share * losses.clip_fraction(ratio, mask, clip=params.clip).item(),
        "ratio_max": ratio[mask].max().item(),
    }


def value_gradients(players: Players, batch: Batch, worth: Worth, share: float) -> dict[str, float]:
    """The same for the value."""
    params = players.params
    with players.value.base.speaking_as(players.value.name):
        values = players.value(batch)
        loss = losses.value_loss(values, worth["values"], worth["returns"], _mask(batch), clip=params.value_clip)
        (params.value_coefficient * share * loss).backward()
    return {"value_loss": share * loss.item()}


def take_step(optimizer: torch.optim.Optimizer, weights: dict[str, Tensor], max_norm: float) -> float:
    """Clip, update, forget the gradients; returns the norm before clipping. A step that is no number moves nothing."""
    norm = clip_grad_norm_(weights.values(), max_norm)
    if torch.isfinite(norm):
        optimizer.step()
    optimizer.zero_grad()
    return norm.item()


def _together(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """The metrics of parts as those of the whole: shares add up, and the largest ratio stands."""
    found: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            found[name] = max(found.get(name, 0.0), value) if name == "ratio_max" else found.get(name, 0.0) + value
    return found


def _mask(batch: Batch) -> Tensor:
    return torch.arange(int(batch.lengths.max()), device=batch.ids.device) < batch.lengths[:, None]


def _per_answer(batch: Batch, rows: Sequence[list[float]]) -> Tensor:
    """(A, T) of numbers that are known of every token, zero past the end."""
    flat = [value for row in rows for value in row]
    return batch.per_answer(torch.tensor(flat, dtype=torch.float32, device=batch.ids.device))
