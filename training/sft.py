"""Supervised fine-tuning: the model learns to write the answers of a snapshot's demonstrations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from training import adapters, budget, checkpoints, data, forward, models, reports
from training.data import RowAccount
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile
from training.schedule import learning_rate, set_rate

RELOAD_ROWS = 4
Answered = tuple[list[int], list[int]]  # prompt, answer


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    run.phase("loading")
    device = models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    account, rows = encoded_rows(config, tokenizer, "train")
    eval_account, eval_rows = encoded_rows(config, tokenizer, "eval")
    run.say("info", f"{account.used} rows to learn from, {eval_account.used} held out.")

    model = load_model(config)
    core = models.core(model)
    forward.check_head(core, rows[0][0])
    weights = models.trainable(model)
    optimizer = torch.optim.AdamW(weights, lr=params.learning_rate, weight_decay=params.weight_decay)

    lengths = [len(prompt) + len(answer) for prompt, answer in rows]
    total, per_epoch = data.steps_of(lengths, params)
    budget.follow(model, optimizer, total, run)
    first, tokens = 1, 0
    if checkpoint := checkpoints.latest(run):
        models.load_trainable_state(model, checkpoint.tensors())
        optimizer.load_state_dict(checkpoint.state["optimizer"])
        checkpoints.restore_rng(checkpoint.state["rng"])
        first, tokens = checkpoint.step + 1, checkpoint.state["tokens"]

    at_once = forward.tokens_at_once(core)
    run.phase("training", total, step=first - 1)
    model.train()
    for step, batch in data.batches_from(lengths, params, seed=config.seed, first_step=first):
        began = time.monotonic()
        rate = learning_rate(params, step, total)
        set_rate(optimizer, rate)
        learnt = sum(len(_learned(rows[row], params.loss_on)[1]) for row in batch)
        loss = 0.0
        for part in data.parts(batch, lengths, at_once):
            packed = forward.pack_answers(
                [_learned(rows[row], params.loss_on) for row in part], tokenizer.pad_token_id, device
            )
            share = answer_loss(core, packed) * (len(packed.targets) / learnt)
            share.backward()
            loss += share.item()
        grad_norm = clip_grad_norm_(weights, params.max_grad_norm).item()
        run.require_finite(step, loss=loss, grad_norm=grad_norm)
        optimizer.step()
        optimizer.zero_grad()

        seconds = time.monotonic() - began
        read = sum(lengths[row] for row in batch)
        tokens += read
        run.log(
            step,
            loss=loss,
            lr=rate,
            grad_norm=grad_norm,
            epoch=step / per_epoch,
            tokens_per_s=read / seconds,
            samples_per_s=len(batch) / seconds,
        )
        look = bool(params.eval_every and step % params.eval_every == 0 and step < total and eval_rows)
        due = params.checkpoint_every and step % params.checkpoint_every == 0
        if due or look or step == total or run.stop_requested:  # before a look, which may be stopped half-way
            state = {"optimizer": optimizer.state_dict(), "rng": checkpoints.capture_rng(), "tokens": tokens}
            checkpoints.save(run, step, models.trainable_state(model), state)
        run.leave_if_stopped()
        if look:
            run.log(step, eval_loss=evaluate(core, eval_rows, params, tokenizer.pad_token_id, run))

    run.phase("evaluating")
    figures: dict[str, Any] = {}
    if eval_rows:
        figures["loss"] = evaluate(core, eval_rows, params, tokenizer.pad_token_id, run)
        run.log(total, eval_loss=figures["loss"])
    probe = rows[:RELOAD_ROWS]
    before = answer_scores(core, probe, tokenizer.pad_token_id)

    run.phase("saving")
    del optimizer
    folder = models.save_policy(model, tokenizer, run, config)
    again = models.core(models.load_result(folder, config))
    check = reports.reload_check(
        before, answer_scores(again, probe, tokenizer.pad_token_id), tolerance=reports.tolerance_of(core.dtype)
    )
    losses = [row["loss"] for row in read_metrics(run.path) if row.get("loss") is not None]
    run.write_report(
        reports.common(run, config, [account, eval_account], steps=total, tokens=tokens)
        | {
            "train": {"first_loss": losses[0], "loss": sum(losses[-10:]) / len(losses[-10:])},
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, *rows[0]),
            "warnings": []
            if eval_rows
            else ["The snapshot has no held-out rows: nothing says how well this generalises."],
        }
    )


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
    for row in found:
        if reason := data.unusable(tokenizer, row["prompt"], row["completion"]):
            account.drop(reason)
            continue
        prompt, answer = data.encode_pair(tokenizer, row["prompt"], row["completion"])
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
