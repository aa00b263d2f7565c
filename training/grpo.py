"""Group relative policy optimisation, and RLOO: several answers to each prompt judge one another, with no value model.

One loop for both, because they differ in three lines: what an answer is compared with, where the price of drifting is
paid (in the loss of every token, or in the reward of the answer), and whether a token or an answer is the action. TRL's
trainers cannot stop within a step and resume bit for bit; their losses and advantages are compared with ours in the
tests. A prompt is computed once for all of its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training import answers, data, forward, groups, losses, models, ppo, reports, rollout, rules
from training.advantages import ScoreScale
from training.company import Company, speakers
from training.experience import pick
from training.forward import Answered
from training.loop import Done, Look, Loop
from training.policies import Scorer, SharedBase, load_scorer
from training.prompts import Prompt
from training.results import recent, save_checked
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile, RunFileError
from training.updates import RATIO_TOLERANCE, take_step

RELOAD_ROWS = 4


@dataclass(frozen=True)
class Groups:
    """One step's answers, K side by side for each prompt; (N, T) tensors are zero past the end of an answer."""

    answered: list[Answered]
    mask: Tensor  # (N, T)
    logps: Tensor  # (N, T) under the policy that wrote them
    ref_logps: Tensor  # (N, T)
    advantages: Tensor  # (N,)
    metrics: dict[str, float]


class RuleScorer:
    """A rule in the place of a reward model."""

    def __init__(self, rule: str, tokenizer: Any, device: torch.device) -> None:
        self.rule, self.tokenizer, self.device = rules.parse(rule), tokenizer, device

    def score(self, answered: Sequence[Answered], pad_id: int) -> Tensor:
        """(N,) what the rule gives to the text of each answer."""
        texts = self.tokenizer.batch_decode([ids for _, ids in answered], skip_special_tokens=True)
        return torch.tensor([self.rule(text) for text in texts], device=self.device)


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    if config.adapter and config.adapter.dropout:
        raise RunFileError("adapter.dropout", "must be 0: with dropout the ratio is not 1 at the start")
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    company = assemble(config, tokenizer)
    learn, held_out, accounts = ppo.split_prompts(config, run, tokenizer, company.base)
    run.say("info", f"{len(learn)} prompts to learn from, {len(held_out)} held out.")
    data.introduce(run, config, tokenizer, learn[0].ids, [])
    forward.check_head(company.base.lm, learn[0].ids)
    shown = ppo.samples_of(company, held_out, config, run)  # before a checkpoint is put back
    weights = company.policy_weights()
    optimizer = torch.optim.AdamW(
        weights.values(), lr=params.learning_rate, weight_decay=params.weight_decay, eps=ppo.ADAM_EPS, fused=True
    )
    loop = Loop(config, run, weights, {"optimizer": optimizer}, params.steps)

    def one_step(step: int) -> Done:
        batch = pick(learn, step, params.prompts_per_step, config.seed)
        experience = gather(company, batch, config.kind, seed=config.seed * 1_000_003 + step)
        learnt = improve(company, experience, optimizer, config.kind, run, step, seed=config.seed)
        row = experience.metrics | learnt | {"epoch": step * params.prompts_per_step / len(learn)}
        loop.warn(step, ppo.symptoms(row, params))
        return Done(row, len(experience.answered), sum(len(p) + len(a) for p, a in experience.answered))

    loop.go(one_step, [Look(params.sample_every if held_out else 0, shown.pass_by)])
    run.phase("evaluating")
    figures = ppo.evaluate(company, shown, ScoreScale(), run) if held_out else {}
    last = [a.answered for a in shown.before[:RELOAD_ROWS]] or ppo.experience_probe(company, learn, config)
    check = save_checked(company.base, company.policy, company.pack(last), tokenizer, config, run)
    run.write_report(
        reports.common(run, config, accounts, steps=params.steps, tokens=loop.tokens)
        | {
            "train": recent(run, "score", "kl", "length", "eos_rate", "same_score"),
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, *last[0]),
            "warnings": warnings(read_metrics(run.path), params, bool(held_out)),
        }
    )


def assemble(config: RunFile, tokenizer: Any) -> Company:
    """The policy, its reference, and what scores the answers: a reward model or a rule."""
    assert config.base_model is not None
    base, named = speakers(config)
    params = config.params
    scorer: Scorer
    if config.reward_model is None:
        scorer = RuleScorer(params.rule, tokenizer, base.device)
    else:
        path = config.reward_model.path
        scorer = load_scorer(path, base, config.base_model.path, config.hardware, tokenizer, params.caution)
    return Company(base=base, scorer=scorer, tokenizer=tokenizer, params=params, **named)


@torch.no_grad()
def gather(company: Company, batch: Sequence[Prompt], kind: str, *, seed: int) -> Groups:
    """Answer each prompt several times with the policy as it is, and compare the answers with one another."""
    params, base = company.params, company.base
    with base.answering_as(company.policy) as lm:
        rolled = rollout.sample(
            lm,
            [prompt.ids for prompt in batch],
            stop=rollout.stop_ids(lm, company.tokenizer),
            pad_id=company.pad_id,
            max_new_tokens=params.max_new_tokens,
            temperature=params.temperature,
            samples=params.samples,
            generator=torch.Generator(base.device).manual_seed(seed % 2**63),
        )
    answered = list(zip(rolled.prompts, rolled.answers(), strict=True))

    def logps_as(who: SharedBase, name: str | None) -> Tensor:
        def compute(rows: list[Answered]) -> Tensor:
            packed = company.pack(rows)
            with who.answering_as(name) as lm:
                return packed.per_answer(forward.token_logps(lm, packed, temperature=params.temperature)[0])

        return answers.in_batches(answered, params.minibatch, compute)

    # In bfloat16 the kernels of generation and of training differ by more than a ratio may.
    logps = rolled.logps if base.lm.dtype == torch.float32 else logps_as(base, company.policy)
    ref_logps, mask = logps_as(company.reference_base, company.reference), rolled.mask
    scores = answers.scores(company.scorer, answered, params.minibatch, company.pad_id)
    kl = (losses.kl_k1(logps, ref_logps) * mask).sum(dim=1)
    earned = scores - params.missing_eos_penalty * (~rolled.ended)
    if kind == "rloo":
        advantages = groups.leave_one_out(earned - params.beta * kl, params.samples)
    else:
        advantages = groups.group_advantages(earned, params.samples, scale=params.scale)
    lengths = rolled.lengths.float()
    low, high = lengths.quantile(torch.tensor([0.1, 0.9], device=lengths.device)).tolist()
    spread = earned.view(-1, params.samples).std(dim=1)
    metrics = {
        "reward": earned.mean().item(),
        "score": scores.mean().item(),
        "same_score": (spread < 1e-6).float().mean().item(),  # groups that teach nothing
        "kl": kl.mean().item(),
        "kl3": (losses.kl_k3(logps, ref_logps) * mask).sum(dim=1).mean().item(),
        "length": lengths.mean().item(),
        "length_p10": low,
        "length_p90": high,
        "eos_rate": rolled.ended.float().mean().item(),
    }
    return Groups(answered, mask, logps, ref_logps, advantages, metrics)


def improve(
    company: Company,
    experience: Groups,
    optimizer: torch.optim.Optimizer,
    kind: str,
    run: RunDir,
    step: int,
    *,
    seed: int,
) -> dict[str, float]:
    """Some passes over a step's answers in minibatches; returns the means of their metrics."""
    params, count = company.params, len(experience.answered)
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    found: list[dict[str, float]] = []
    for _ in range(params.passes):
        for rows in torch.randperm(count, generator=generator).split(params.minibatch):
            row = minibatch_step(company, experience, rows.tolist(), optimizer, kind)
            if not found and abs(row["ratio_max"] - 1) > RATIO_TOLERANCE:
                run.say("warning", f"The ratio was {row['ratio_max']:.4f} before any update of step {step}.")
            run.require_finite(step, **row)
            found.append(row)
    means = {name: sum(row[name] for row in found) / len(found) for name in found[0]}
    return means | {"ratio_max": max(row["ratio_max"] for row in found)}


def minibatch_step(
    company: Company, experience: Groups, rows: Sequence[int], optimizer: torch.optim.Optimizer, kind: str
) -> dict[str, float]:
    """One update of the policy."""
    params = company.params
    tokens = float(experience.mask[list(rows)].sum())
    result = dict.fromkeys(("policy_loss", "entropy", "clip_fraction", "ratio_max"), 0.0)
    for picked in company.parted(experience.answered, rows):
        batch = company.pack([experience.answered[row] for row in picked])
        width = int(batch.lengths.max())
        mask = experience.mask[picked, :width]
        with company.base.speaking_as(company.policy) as lm:
            found, entropy = forward.token_logps(lm, batch, temperature=params.temperature)
            loss, ratio = part_loss(batch.per_answer(found), experience, picked, mask, kind, params, len(rows), tokens)
            loss.backward()
        share = float(mask.sum()) / tokens
        seen = mask if kind == "grpo" else torch.ones_like(ratio, dtype=torch.bool)
        result["policy_loss"] += loss.item()
        result["entropy"] += share * entropy.mean().item()
        high = getattr(params, "clip_high", None)  # GRPO's alone
        clipped = losses.clip_fraction(ratio, seen, clip=params.clip, clip_high=high)
        result["clip_fraction"] += share * clipped.item()
        result["ratio_max"] = max(result["ratio_max"], ratio[seen].max().item())
    return result | {"grad_norm": take_step(optimizer, company.policy_weights(), params.max_grad_norm)}


def part_loss(
    logps: Tensor,
    experience: Groups,
    picked: list[int],
    mask: Tensor,
    kind: str,
    params: Any,
    rows: int,
    tokens: float,
) -> tuple[Tensor, Tensor]:
    """(what these answers add to the loss of the minibatch, their ratios)."""
    width = mask.shape[1]
    old, advantages = experience.logps[picked, :width], experience.advantages[picked]
    if kind == "rloo":
        whole, ratio = groups.rloo_losses(logps, old, advantages, mask, clip=params.clip)
        return whole.sum() / rows, ratio
    each, ratio = groups.grpo_losses(
        logps,
        old,
        experience.ref_logps[picked, :width],
        advantages,
        clip=params.clip,
        clip_high=params.clip_high or params.clip,
        beta=params.beta,
    )
    longest = params.max_new_tokens
    return groups.share_of(each, mask, params.loss, rows=rows, tokens=tokens, longest=longest), ratio


def warnings(rows: Sequence[dict[str, Any]], params: Any, held_out: bool) -> list[str]:
    """What a person should know before trusting the result."""
    found = ppo.warnings(rows, params, held_out)
    same = [row["same_score"] for row in rows if row.get("same_score") is not None]
    if same and sum(same) / len(same) > 0.5:
        found.append(
            "In more than half of the groups all answers scored alike, which teaches nothing: "
            "raise params.samples or params.temperature, or take harder prompts."
        )
    return found
