"""Kahneman-Tversky optimisation: a policy learns from single answers that people wanted or did not want.

Our own loop rather than TRL's trainer, for exact resume, the row account and the shared reference cache; TRL's loss is
compared with ours in the tests. The reference point z0 is estimated as its authors do, on prompts with an answer that
belongs to another prompt (Ethayarajh et al. 2024, section 4.1). Which answer that is does not change during a run, so
that the reference's log-probability of it is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training import data, forward, losses, models, reports
from training.data import RowAccount
from training.dpo import Pairs, choose_packing, load_policy, reference_logps, samples_of
from training.loop import Look, Metrics, over_rows
from training.policies import SharedBase
from training.prompts import Prompt
from training.results import recent, save_checked
from training.rundir import RunDir
from training.runfile import RunFile

RELOAD_ROWS = 4
FAIR = (1.0, 4 / 3)  # how the two kinds of rows should weigh in all: Ethayarajh et al. (2024) equation 8


@dataclass(frozen=True)
class Judged(Pairs):
    """The usable rows of one split: (prompt, its answer, the answer of another prompt), and whether it was wanted."""

    labels: list[bool]


@dataclass(frozen=True)
class Learner:
    """Who learns, and what every batch needs to know of it."""

    base: SharedBase
    policy: str | None
    pad_id: int
    params: Any

    def pack(self, answered: Sequence[forward.Answered]) -> forward.Batch:
        return forward.pack_answers(answered, self.pad_id, self.base.device)


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    learn, held_out = read_rows(config, tokenizer, "train"), read_rows(config, tokenizer, "eval")
    run.say("info", f"{len(learn.rows)} rows to learn from, {sum(learn.labels)} of them wanted.")
    data.introduce(run, config, tokenizer, *learn.rows[0][:2])
    base, policy = load_policy(config)
    learner = Learner(base, policy, tokenizer.pad_token_id, params)
    forward.check_head(base.lm, learn.rows[0][0])
    pack = choose_packing(base, run)
    # Both before a checkpoint is put back: full fine-tuning has its reference only as long as nothing has been learnt.
    references = [reference_logps(rows, base, pack, learner.pad_id, config, run) for rows in (learn, held_out)]
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
    probe = learner.pack([row[:2] for row in learn.rows[:RELOAD_ROWS]])
    check = save_checked(base, policy, probe, tokenizer, config, run)
    run.write_report(
        reports.common(run, config, [learn.account, held_out.account], steps=loop.total, tokens=loop.tokens)
        | {
            "train": recent(run, "loss", "kl", "margin", "chosen_reward", "rejected_reward"),
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, *learn.rows[0][:2]),
            "warnings": warnings(learn, held_out, params),
        }
    )


def backward(learner: Learner, learn: Judged, references: Tensor, rows: list[int]) -> Metrics:
    """The gradients of some rows, computed in parts; their loss and what it says of them."""
    params, base = learner.params, learner.base
    kl = reference_point(learner, learn, references, rows)
    implied, loss = [], 0.0
    for part in data.parts(rows, learn.lengths, forward.tokens_at_once(base.lm)):
        batch, labels = learner.pack([learn.rows[row][:2] for row in part]), labels_of(learner, learn, part)
        ref_logps = references[0, part].to(base.device)
        with base.speaking_as(learner.policy, dropout=True) as lm:
            logps = forward.answer_logps(lm, batch)
            piece = row_losses(logps, ref_logps, labels, kl, params).sum() / len(rows)
            piece.backward()
        loss += piece.item()
        implied.append(params.beta * (logps.detach() - ref_logps))
    return {"loss": loss, "kl": kl.item()} | rewards(torch.cat(implied), labels_of(learner, learn, rows))


def read_rows(config: RunFile, tokenizer: Any, split: str) -> Judged:
    """The judged answers of one split as token ids, every row that was read accounted for."""
    found = data.rows(config, split)
    data.require_columns(found, "prompt", "completion", "label")
    account, kept, prompts, labels = RowAccount(split), [], [], []
    limit, raisable = models.longest(config)
    encoder = data.Encoder(tokenizer)
    for number, row in enumerate(found, start=1):
        if reason := data.unusable(tokenizer, row["prompt"], row["completion"]):
            account.drop(reason)
            continue
        if row["label"] not in (True, False):  # a text would be wanted whatever it says
            account.drop("label_is_not_true_or_false")
            continue
        prompt, answer = encoder.pair(row["prompt"], row["completion"])
        if len(prompt) + len(answer) > limit:
            account.drop("too_long")
            continue
        account.use()
        kept.append((prompt, answer))
        prompts.append(Prompt(str(row.get("task_id") or number), row["prompt"], prompt))
        labels.append(bool(row["label"]))
    if found or split == "train":
        account.require(config.params.max_dropped_share, raisable=raisable)
    return Judged(account, with_others(kept, limit, config.seed), prompts, labels)


def with_others(rows: Sequence[forward.Answered], limit: int, seed: int) -> list[forward.Pair]:
    """Each row with the answer of another row, cut where the two would be too long together."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    others = {row: order[(place + 1) % len(order)] for place, row in enumerate(order)}
    return [(prompt, answer, rows[others[row]][1][: limit - len(prompt)]) for row, (prompt, answer) in enumerate(rows)]


def labels_of(learner: Learner, judged: Judged, rows: Sequence[int]) -> Tensor:
    return torch.tensor([judged.labels[row] for row in rows], device=learner.base.device)


@torch.no_grad()
def reference_point(learner: Learner, judged: Judged, references: Tensor, rows: Sequence[int]) -> Tensor:
    """z0 of a batch: the mean of log(pi/ref) over answers to other prompts, never below zero."""
    batch = learner.pack([(judged.rows[row][0], judged.rows[row][2]) for row in rows])
    with learner.base.answering_as(learner.policy) as lm:
        logps = forward.answer_logps(lm, batch)
    return (logps - references[1, rows].to(logps.device)).mean().clamp(min=0)


def row_losses(logps: Tensor, ref_logps: Tensor, labels: Tensor, kl: Tensor, params: Any) -> Tensor:
    """(B,) losses of a batch."""
    return losses.kto_loss(
        logps,
        ref_logps,
        labels,
        kl,
        beta=params.beta,
        desirable_weight=params.desirable_weight,
        undesirable_weight=params.undesirable_weight,
    )


def rewards(implied: Tensor, labels: Tensor) -> dict[str, float | None]:
    """Mean implied reward of the wanted and of the unwanted answers of a batch; None where there are none."""
    wanted = implied[labels].mean().item() if labels.any() else None
    unwanted = implied[~labels].mean().item() if not labels.all() else None
    margin = None if wanted is None or unwanted is None else wanted - unwanted
    return {"chosen_reward": wanted, "rejected_reward": unwanted, "margin": margin}


@torch.no_grad()
def evaluate(learner: Learner, judged: Judged, references: Tensor, run: RunDir) -> dict[str, Any]:
    """Loss, rewards, and how often a wanted answer has a higher implied reward than an unwanted one (ties half)."""
    params, device = learner.params, learner.base.device
    loss, implied = 0.0, torch.zeros(len(judged.rows))
    for rows in data.in_order(judged.lengths, params.batch_size):
        run.leave_if_stopped()
        kl = reference_point(learner, judged, references, rows)
        ref_logps = references[0, rows].to(device)
        with learner.base.answering_as(learner.policy) as lm:
            logps = forward.answer_logps(lm, learner.pack([judged.rows[row][:2] for row in rows]))
        loss += row_losses(logps, ref_logps, labels_of(learner, judged, rows), kl, params).sum().item()
        implied[rows] = (params.beta * (logps - ref_logps)).cpu()
    labels = torch.tensor(judged.labels)
    lead = implied[labels][:, None] - implied[~labels]
    right = (lead > 0).sum().item() + 0.5 * (lead == 0).sum().item()
    # Pairs share their answers, so the interval is that of the smaller side, not of their product.
    side = int(min(labels.sum(), (~labels).sum()))
    accuracy = reports.wilson(right / lead.numel() * side if side else 0, side)
    return {"loss": loss / len(judged.rows), "accuracy": accuracy} | rewards(implied, labels)


def warnings(learn: Judged, held_out: Judged, params: Any) -> list[str]:
    """What a person should know before trusting the result."""
    found = []
    if not held_out.rows:
        found.append(reports.NOTHING_HELD_OUT)
    wanted = sum(learn.labels)
    unwanted = len(learn.labels) - wanted
    if not wanted or not unwanted:
        missing = "unwanted" if wanted else "wanted"
        return [*found, f"The snapshot has no {missing} answers: the policy learns one side alone."]
    ratio = params.desirable_weight * wanted / (params.undesirable_weight * unwanted)
    if not FAIR[0] * 0.75 <= ratio <= FAIR[1] * 1.25:
        name, value = "undesirable_weight", params.desirable_weight * wanted / unwanted
        if ratio < 1:
            name, value = "desirable_weight", params.undesirable_weight * unwanted / wanted
        found.append(
            f"{wanted} wanted answers against {unwanted} unwanted ones: params.{name} = {value:.2g} would balance them."
        )
    return found
