"""Supervised fine-tuning: the model learns to write the answers of a snapshot's demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from training import adapters, data, forward, models, reports
from training.data import RowAccount
from training.loop import Look, Metrics, over_rows
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile

RELOAD_ROWS = 4
Answered = tuple[list[int], list[int]]  # prompt, answer


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    account, rows = encoded_rows(config, tokenizer, "train")
    eval_account, eval_rows = encoded_rows(config, tokenizer, "eval")
    run.say("info", f"{account.used} rows to learn from, {eval_account.used} held out.")
    data.introduce(run, config, tokenizer, *rows[0])
    model = load_model(config)
    core, pad_id = models.core(model), tokenizer.pad_token_id
    forward.check_head(core, rows[0][0])
    lengths = [len(prompt) + len(answer) for prompt, answer in rows]
    at_once = forward.tokens_at_once(core)

    def one_batch(batch: list[int]) -> Metrics:
        parts = [[_learned(rows[row], params.loss_on) for row in part] for part in data.parts(batch, lengths, at_once)]
        return {"loss": backward(core, parts, pad_id)}

    def look(step: int) -> Metrics:
        return {"eval_loss": evaluate(core, eval_rows, params, pad_id, run)} if eval_rows else {}

    model.train()
    looks = [Look(params.eval_every if eval_rows else 0, look)]
    loop = over_rows(config, run, model, lengths, one_batch, most_at_once=at_once, looks=looks)
    run.phase("evaluating")
    if found := look(loop.total):
        run.log(loop.total, **found)
    check = save_checked(model, rows[:RELOAD_ROWS], tokenizer, config, run)
    losses = [row["loss"] for row in read_metrics(run.path) if row.get("loss") is not None]
    run.write_report(
        reports.common(run, config, [account, eval_account], steps=loop.total, tokens=loop.tokens)
        | {
            "train": {"first_loss": losses[0], "loss": sum(losses[-10:]) / len(losses[-10:])},
            "eval": {"loss": found["eval_loss"]} if found else {},
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, *rows[0]),
            "warnings": [] if eval_rows else [reports.NOTHING_HELD_OUT],
        }
    )


def backward(core: Any, parts: Sequence[Sequence[Answered]], pad_id: int) -> float:
    """The loss of a batch that comes in parts, its gradients added up: the mean over all answer tokens."""
    learnt, loss = sum(len(answer) for part in parts for _, answer in part), 0.0
    for part in parts:
        packed = forward.pack_answers(part, pad_id, core.device)
        share = answer_loss(core, packed) * (len(packed.targets) / learnt)
        share.backward()
        loss += share.item()
    return loss


def save_checked(model: Any, probe: Sequence[Answered], tokenizer: Any, config: RunFile, run: RunDir) -> dict[str, Any]:
    """Write model/, load it back the plain way and compare it on `probe`; returns the reload check of the report."""
    core, pad_id = models.core(model), tokenizer.pad_token_id
    before = answer_scores(core, probe, pad_id)
    run.phase("saving")
    folder = models.save_policy(model, tokenizer, run, config)
    models.let_go(model)  # or two would be held at a time
    again = models.core(models.load_result(folder, config))
    return reports.reload_check(before, answer_scores(again, probe, pad_id), tolerance=reports.tolerance_of(core.dtype))


def load_model(config: RunFile) -> Any:
    """The base model, with a new or copied adapter where the run trains one."""
    assert config.base_model is not None
    model = models.load_causal(
        config.base_model.path, config.hardware, training=config.adapter is None, adapter=config.adapter
    )
    if config.adapter is None:
        return model
    start = config.start_adapter.path if config.start_adapter else None
    return adapters.attach(model, config.adapter, task="causal", start=start)


def encoded_rows(config: RunFile, tokenizer: Any, split: str) -> tuple[RowAccount, list[Answered]]:
    """(account, token ids of prompt and answer) of the usable rows of one split."""
    account, kept = RowAccount(split), []
    found = data.rows(config, split)
    data.require_columns(found, "prompt", "completion")
    limit, raisable = models.longest(config)
    encoder = data.Encoder(tokenizer)
    for row in found:
        if reason := data.unusable(tokenizer, row["prompt"], row["completion"]):
            account.drop(reason)
            continue
        prompt, answer = encoder.pair(row["prompt"], row["completion"])
        room = limit - len(answer)
        cut = data.cut_prompt(tokenizer, prompt, room) if config.params.long_prompts == "cut" else prompt
        if cut is None or len(cut) > room:
            account.drop("too_long")
            continue
        account.use(truncated=len(cut) < len(prompt))
        kept.append((cut, answer))
    if found or split == "train":
        account.require(config.params.max_dropped_share, raisable=raisable)
    assert all(answer[-1] == tokenizer.eos_token_id for _, answer in kept)
    return account, kept


def answer_loss(core: Any, packed: forward.Batch) -> Tensor:
    """Mean negative log-probability of the answer tokens of a batch, in nats."""
    logps, _ = forward.token_logps(core, packed)
    return -logps.mean()


@torch.no_grad()
def evaluate(core: Any, rows: Sequence[Answered], params: Any, pad_id: int, run: RunDir) -> float:
    """Mean loss per answer token over all `rows`, in nats."""
    was_training = core.training
    core.eval()
    loss = tokens = 0.0
    for batch in data.in_order([len(p) + len(a) for p, a in rows], params.batch_size):
        run.leave_if_stopped()
        packed = forward.pack_answers([_learned(rows[row], params.loss_on) for row in batch], pad_id, core.device)
        loss += answer_loss(core, packed).item() * len(packed.targets)
        tokens += len(packed.targets)
    core.train(was_training)
    return loss / tokens


@torch.no_grad()
def answer_scores(core: Any, rows: Sequence[Answered], pad_id: int) -> list[float]:
    """Log-probability of each answer, dropout off."""
    core.eval()
    return forward.answer_logps(core, forward.pack_answers(rows, pad_id, core.device)).tolist()


def _learned(row: Answered, loss_on: str) -> Answered:
    """What is given and what is learnt: the answer alone, or everything behind the first token."""
    if loss_on == "completion":
        return row
    whole = row[0] + row[1]
    return whole[:1], whole[1:]
