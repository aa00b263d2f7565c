"""Direct preference optimisation and its relatives: a policy learns from pairs, with no reward model in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from training import answers, data, forward, losses, models, reports
from training.data import RowAccount
from training.forward import Batch, Pair
from training.loop import Look, Metrics, over_rows
from training.policies import POLICY, SharedBase
from training.prompts import Prompt
from training.references import ReferenceCache, cache_folder
from training.results import recent, save_checked
from training.reward_figures import accuracy
from training.rundir import RunDir
from training.runfile import RunFile
from training.shown import Shown

RELOAD_ROWS = 4
Packing = Callable[[Sequence[Pair], int, torch.device], Batch]


@dataclass(frozen=True)
class Pairs:
    """The usable pairs of one split."""

    account: RowAccount
    rows: list[Pair]
    prompts: list[Prompt]
    weights: list[float] = field(default_factory=list, kw_only=True)  # what each row counts in its batch

    @property
    def lengths(self) -> list[int]:
        return [sum(map(len, pair)) for pair in self.rows]


@dataclass(frozen=True)
class Learner:
    """Who learns, and what every batch needs to know of it."""

    base: SharedBase
    policy: str | None
    pack: Packing
    pad_id: int
    params: Any


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    learn, held_out = read_pairs(config, tokenizer, "train"), read_pairs(config, tokenizer, "eval")
    run.say("info", f"{len(learn.rows)} pairs to learn from, {len(held_out.rows)} held out.")
    data.introduce(run, config, tokenizer, *learn.rows[0][:2])
    base, policy = load_policy(config)
    pad_id = tokenizer.pad_token_id
    forward.check_head(base.lm, learn.rows[0][0])
    learner = Learner(base, policy, choose_packing(base, run), pad_id, params)
    # Both before a checkpoint is put back: full fine-tuning has its reference only as long as nothing has been learnt.
    references = [reference_logps(pairs, base, learner.pack, pad_id, config, run) for pairs in (learn, held_out)]
    shown = samples_of(base, policy, (held_out.prompts or learn.prompts), tokenizer, config, run)
    figures: dict[str, Any] = {}

    def look(step: int) -> Metrics:
        figures.update(evaluate(learner, held_out, references[1], run))
        return {"eval_loss": figures["loss"], "eval_accuracy": figures["accuracy"]["value"]}

    loop = over_rows(
        config, run, base.lm, learn.lengths,
        lambda rows: backward(learner, learn, references[0], rows),
        wrapper=base.wrapper,
        most_at_once=forward.tokens_at_once(base.lm),
        looks=[Look(params.eval_every if held_out.rows else 0, look), Look(params.sample_every, shown.pass_by)],
    )  # fmt: skip
    run.phase("evaluating")
    if held_out.rows:
        run.log(loop.total, **look(loop.total))
    shown.show(loop.total, last=True)
    probe = forward.pack_apart(learn.rows[:RELOAD_ROWS], pad_id, base.device)
    check = save_checked(base, policy, probe, tokenizer, config, run)
    run.write_report(
        reports.common(run, config, [learn.account, held_out.account], steps=loop.total, tokens=loop.tokens)
        | {
            "train": recent(run, "loss", "accuracy", "margin", "chosen_reward", "rejected_reward"),
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, *learn.rows[0][:2]),
            "warnings": warnings(run, bool(held_out.rows), params),
        }
    )


def backward(learner: Learner, learn: Pairs, references: Tensor, rows: list[int]) -> Metrics:
    """The gradients of some pairs, computed in parts; their loss, a weighted mean, and what it says of them."""
    base, params = learner.base, learner.params
    whole = sum(learn.weights[row] for row in rows)
    implied, loss = [], 0.0
    for part in data.parts(rows, learn.lengths, forward.tokens_at_once(base.lm)):
        batch = learner.pack([learn.rows[row] for row in part], learner.pad_id, base.device)
        ref_logps = references[:, part].flatten().to(base.device)
        with base.speaking_as(learner.policy, dropout=True) as lm:
            logps = forward.answer_logps(lm, batch)
            weight = logps.new_tensor([learn.weights[row] / whole for row in part])
            piece = (pair_losses(logps, ref_logps, batch.lengths, params) * weight).sum()
            piece.backward()
        loss += piece.item()
        implied.append(rewards(logps.detach(), ref_logps, batch.lengths, params).view(2, -1))
    return {"loss": loss} | lead(torch.cat(implied, dim=1).flatten())


def read_pairs(config: RunFile, tokenizer: Any, split: str) -> Pairs:
    """The pairs of one split as token ids, every row that was read accounted for."""
    found = data.rows(config, split)
    data.require_columns(found, "prompt", "chosen", "rejected")
    pairs = Pairs(RowAccount(split), [], [])
    limit, raisable = models.longest(config)
    encoder = data.Encoder(tokenizer)
    for number, row in enumerate(found, start=1):
        reason = data.unusable(tokenizer, row["prompt"], row["chosen"], row["rejected"])
        weight = 1.0 if row.get("weight") is None else float(row["weight"])
        if reason or not weight > 0:
            pairs.account.drop(reason or "weight_not_above_zero")
            continue
        prompt, chosen = encoder.pair(row["prompt"], row["chosen"])
        _, rejected = encoder.pair(row["prompt"], row["rejected"])
        if chosen == rejected or len(prompt) + max(len(chosen), len(rejected)) > limit:
            pairs.account.drop("answers_equal" if chosen == rejected else "too_long")
            continue
        pairs.account.use()
        pairs.weights.append(weight)
        pairs.rows.append((prompt, chosen, rejected))
        pairs.prompts.append(Prompt(str(row.get("task_id") or number), row["prompt"], prompt))
    if found or split == "train":
        pairs.account.require(config.params.max_dropped_share, raisable=raisable)
    return pairs


def load_policy(config: RunFile) -> tuple[SharedBase, str | None]:
    """The model that learns and the name it speaks under: an adapter, or None for all weights."""
    assert config.base_model is not None
    if config.adapter is None:
        return SharedBase(config.base_model.path, config.hardware, learns=True), None
    base = SharedBase(config.base_model.path, config.hardware, adapter=config.adapter)
    base.add(POLICY, config.adapter, start=config.start_adapter.path if config.start_adapter else None)
    return base, POLICY


def choose_packing(base: SharedBase, run: RunDir) -> Packing:
    """A tree per pair; says so when the model can only read it as two rows."""
    if not forward.reads_trees(base.lm):
        run.say("warning", "This architecture cannot share a prompt between two answers; each pair takes two rows.")
    return forward.pack_pairs


def reference_logps(pairs: Pairs, base: SharedBase, pack: Packing, pad_id: int, config: RunFile, run: RunDir) -> Tensor:
    """(2, N): chosen and rejected under the reference named in the run file, from the cache where it has them.

    Zeros for a loss that compares with no reference.
    """
    if config.reference is None:
        return torch.zeros(2, len(pairs.rows))
    assert config.base_model is not None
    adapter = config.start_adapter if config.reference == "start_adapter" else None
    bits = config.adapter.bits if config.adapter and config.adapter.method == "qlora" else None
    cache = ReferenceCache(cache_folder(run.path), config.base_model, adapter, base.lm.dtype, bits)
    # Nothing has been learnt yet, so the policy still is the adapter that it started from.
    name = POLICY if adapter else None

    @torch.no_grad()
    def compute(rows: Sequence[Pair]) -> Tensor:
        run.leave_if_stopped()
        with base.speaking_as(name) as lm:
            return forward.answer_logps(lm, pack(rows, pad_id, base.device))

    run.phase(f"reference, {pairs.account.split}", len(pairs.rows))
    return cache.logps(pairs.rows, config.params.batch_size, compute, run.progress)


def samples_of(
    base: SharedBase, policy: str | None, prompts: Sequence[Prompt], tokenizer: Any, config: RunFile, run: RunDir
) -> answers.BeforeAndAfter:
    """What the policy answers to a few prompts before it learns."""
    params = config.params
    room = base.context - params.max_new_tokens if base.context else None
    distinct = {tuple(prompt.ids): prompt for prompt in prompts if room is None or len(prompt.ids) <= room}
    return answers.BeforeAndAfter(
        base, policy, list(distinct.values())[: params.sample_prompts], tokenizer, None, run,
        batch_size=params.batch_size, seed=config.seed, max_new_tokens=params.max_new_tokens,
    )  # fmt: skip


def pair_losses(logps: Tensor, ref_logps: Tensor, lengths: Tensor, params: Any) -> Tensor:
    """(B,) losses of B pairs; (2B,) each of the rest: of the chosen answers, then of the rejected ones."""
    return losses.dpo_loss(
        logps,
        ref_logps,
        beta=params.beta,
        kind=params.loss,
        label_smoothing=params.label_smoothing,
        lengths=lengths,
        gamma=params.simpo_gamma,
    )


def rewards(logps: Tensor, ref_logps: Tensor, lengths: Tensor, params: Any) -> Tensor:
    """(2B,) implied rewards of B pairs, given in the same way."""
    return losses.implied_rewards(logps, ref_logps, beta=params.beta, kind=params.loss, lengths=lengths)


def lead(implied: Tensor) -> dict[str, float]:
    """Accuracy, margin and the implied rewards of a batch, given as (2B,), chosen then rejected."""
    chosen, rejected = implied.chunk(2)
    return {
        "accuracy": (chosen > rejected).float().mean().item(),
        "margin": (chosen - rejected).mean().item(),
        "chosen_reward": chosen.mean().item(),
        "rejected_reward": rejected.mean().item(),
    }


@torch.no_grad()
def evaluate(learner: Learner, pairs: Pairs, references: Tensor, run: RunDir) -> dict[str, Any]:
    """Loss, implicit-reward accuracy with its interval, and margin on `pairs`; a tie counts half.

    What several people said of the same two answers counts once in the accuracy, as in a reward model's.
    """
    base, params, shown = learner.base, learner.params, Shown.among(pairs.rows)
    found = torch.empty(2, len(shown.rows))
    for rows in data.in_order(shown.lengths, params.batch_size):
        run.leave_if_stopped()
        batch = learner.pack([shown.rows[row] for row in rows], learner.pad_id, base.device)
        with base.speaking_as(learner.policy) as lm:
            found[:, rows] = forward.answer_logps(lm, batch).view(2, -1).float().cpu()
    logps, reference = shown.judged(found).flatten(), references.flatten()
    lengths = torch.tensor([len(pair[side]) for side in (1, 2) for pair in pairs.rows])
    chosen, rejected = rewards(logps, reference, lengths, params).chunk(2)
    loss = pair_losses(logps, reference, lengths, params).mean().item()
    leads = (chosen - rejected).tolist()
    return {"loss": loss, "accuracy": accuracy(leads, shown.places), "margin": math.fsum(leads) / len(leads)}


def warnings(run: RunDir, held_out: bool, params: Any) -> list[str]:
    """What a person should know before trusting the result."""
    found = []
    if not held_out:
        found.append(reports.NOTHING_HELD_OUT)
    last = recent(run, "chosen_reward", "accuracy")
    if params.loss in ("sigmoid", "hinge", "robust") and last.get("chosen_reward", 0) < -3:
        found.append("Chosen answers became much less likely than under the reference: raise params.beta.")
    if last.get("accuracy", 1) < 0.5:
        found.append("The policy ranks fewer than half of the training pairs rightly: raise params.learning_rate.")
    return found
