"""A small Llama and its tokenizer, trained from scratch on the texts of one corpus file."""

from __future__ import annotations

import functools
import math
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training import checkpoints, forward, models
from training.corpus import Windows, encode, pack, read_corpus, train_tokenizer
from training.data import RowAccount
from training.lanes import Lanes, count_for
from training.muon import Muon
from training.params import Pretrain
from training.rundir import RunDir, RunError
from training.runfile import RunFile
from training.schedule import set_rate

BETAS = (0.9, 0.95)  # and the final rate: GPT-3 (Brown et al. 2020), appendix B
FINAL_RATE = 0.1
HELD_OUT, HELD_OUT_MOST = 0.02, 512  # share and number of the texts kept for the loss in the report
DROPPED_SHARE = 0.01
RELOAD_TOLERANCE = 1e-4  # in logits; the same weights on the same device differ by rounding alone


def train(config: RunFile, run: RunDir) -> None:
    params: Pretrain = config.params
    device = models.prepare(config.hardware, config.seed)
    run.phase("tokenizer")
    rows, account = read_corpus(run.path / params.corpus), RowAccount("train")
    tokenizer = train_tokenizer(rows, params.vocab_size, params.context)
    texts = encode(rows, tokenizer, params.context, account)
    account.require(DROPPED_SHARE)
    kept = min(HELD_OUT_MOST, max(1, int(len(texts) * HELD_OUT)))
    held_out, windows = (pack(part, params.context, tokenizer.pad_token_id) for part in (texts[:kept], texts[kept:]))

    model: Any = new_model(params, tokenizer)
    model.to(device)
    optimizers = optimizers_of(model, params)
    step, spent = 0, 0.0  # spent: seconds in the loop over all attempts, for the time limit
    if checkpoint := checkpoints.latest(run):
        models.put_back(models.learning(model), checkpoint.tensors())
        for optimizer, state in zip(optimizers, checkpoint.state["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        step, spent = checkpoint.step, checkpoint.state["spent"]

    def keep() -> None:
        state = {"optimizers": [optimizer.state_dict() for optimizer in optimizers], "spent": spent}
        checkpoints.save(run, step, models.learning(model), state)

    run.phase("training", params.max_steps, step)
    started = time.monotonic()
    with Lanes(list(model.parameters()), part_learner(model), count_for(model)) as lanes:
        while (done := share_done(params, step, spent)) < 1.0:
            rate = params.learning_rate * schedule(done, params.warmup_ratio)
            for optimizer in optimizers:
                set_rate(optimizer, rate)
            batch = take(windows, batch_rows(len(windows.ids), params.batch_size, step, config.seed))
            loss = learn(lanes, batch)
            grad_norm = clip_grad_norm_(model.parameters(), params.max_grad_norm).item()
            step += 1
            run.require_finite(step, loss=loss, grad_norm=grad_norm)
            with lanes.resting():
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad()

            seconds = max(time.monotonic() - started, 1e-9)
            started, spent = started + seconds, spent + seconds
            run.log(
                step,
                loss=loss,
                lr=rate,
                grad_norm=grad_norm,
                epoch=step * params.batch_size / len(windows.ids),
                tokens_per_s=batch.ids.numel() / seconds,
            )
            if run.stop_requested or (params.checkpoint_every and step % params.checkpoint_every == 0):
                keep()
            run.leave_if_stopped()
    finish(config, run, model, tokenizer, held_out, {"steps": step, "rows": {"train": account.as_dict()}})


def optimizers_of(model: Any, params: Pretrain) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, which need fewer texts by it, AdamW for the rest."""
    inside = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    known = {id(weight) for weight in inside}
    rest = [weight for weight in model.parameters() if id(weight) not in known]
    settings: dict[str, Any] = {"lr": params.learning_rate, "weight_decay": params.weight_decay}
    return [Muon(inside, **settings), torch.optim.AdamW(rest, betas=BETAS, fused=True, **settings)]


def finish(config: RunFile, run: RunDir, model: Any, tokenizer: Any, held_out: Windows, facts: dict[str, Any]) -> None:
    """Save the model, prove that what lies on the disk is that model, and report."""
    run.phase("saving")
    model.eval()
    folder = models.save_policy(model, tokenizer, run, config)
    reloaded = models.load_causal(folder, config.hardware, training=True).eval()
    losses = [mean_loss(each, held_out, config.params.batch_size) for each in (model, reloaded)]
    difference = max_difference(model, reloaded, held_out)
    if difference > RELOAD_TOLERANCE:
        raise RunError(f"The saved model differs from the trained one by {difference:.2g} in its logits.")
    run.write_report(
        {
            "kind": config.kind,
            "seconds": round(run.seconds, 1),
            **facts,
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "train": {"loss": losses[0]},
            "eval": {"loss": losses[0], "perplexity": math.exp(losses[0])},
            "reload_check": {"ok": True, "rows": len(held_out.ids), "max_abs_diff": difference},
            "template": "own",
        }
    )


def learn(lanes: Lanes, batch: Windows) -> float:
    """The loss of a batch, whose gradients the model then has; texts of every length go to every lane."""
    texts = sorted(batch.texts(), key=len)
    predicted = sum(len(text) - 1 for text in texts)
    return sum(lanes.work([(part, predicted) for part in lanes.split(texts)]))


def part_learner(model: Any) -> Callable[[tuple[list[list[int]], int]], float]:
    """What a lane does: the share of some texts in the mean loss of so many predicted tokens, and its gradients."""

    def learn_part(job: tuple[list[list[int]], int]) -> float:
        texts, predicted = job
        loss = text_loss(model, texts) / predicted
        loss.backward()
        return loss.item()

    return learn_part


def take(windows: Windows, rows: Sequence[int]) -> Windows:
    """Some of the windows."""
    index = torch.tensor(rows)
    return Windows(*(part[index] for part in (windows.ids, windows.positions, windows.labels)))


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """The windows of update `step` (from 0), each once an epoch; a pure function, so a resume needs no state."""
    rows: list[int] = []
    for place in range(step * batch_size, (step + 1) * batch_size):
        epoch, index = divmod(place, count)
        rows.append(_order(count, seed, epoch)[index])
    return rows


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()


def new_model(params: Pretrain, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with fresh weights: feed-forward 8/3 of the width as in LLaMA (Touvron et al. 2023), embeddings tied."""
    width = math.ceil(params.hidden_size * 8 / 3 / 32) * 32
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=params.hidden_size,
            intermediate_size=width,
            num_hidden_layers=params.layers,
            num_attention_heads=params.heads,
            num_key_value_heads=params.heads,
            max_position_embeddings=params.context,
            tie_word_embeddings=True,  # a quarter of the weights of a model this small
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def logits_of(model: nn.Module, batch: Windows) -> Tensor:
    """(B, T, V) logits. Without a mask, transformers keeps texts apart wherever the positions start again at 0."""
    return model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits


def text_loss(model: Any, texts: Sequence[list[int]]) -> Tensor:
    """Cross-entropy in nats, summed over the tokens that are predicted; texts one after another, without padding.

    Texts of one length, side by side, are attended to together.
    """
    packed = forward.pack_answers([(text[:1], text[1:]) for text in texts], 0, model.device)
    hidden = forward.hidden_states(model, packed, packed.sources)
    return F.cross_entropy(forward.head_logits(model, hidden), packed.targets, reduction="sum")


@torch.no_grad()
def mean_loss(model: Any, windows: Windows, batch_size: int) -> float:
    """Mean loss in nats of the tokens that are predicted in many windows."""
    total, count = 0.0, 0
    for start in range(0, len(windows.ids), batch_size):
        texts = sorted(take(windows, range(start, min(start + batch_size, len(windows.ids)))).texts(), key=len)
        if texts:
            total += text_loss(model, texts).item()
            count += sum(len(text) - 1 for text in texts)
    return total / max(count, 1)


@torch.no_grad()
def max_difference(model: Any, other: Any, windows: Windows) -> float:
    """The largest difference between two models' logits on a few windows."""
    batch = take(windows, range(min(4, len(windows.ids))))
    batch = Windows(*(part.to(model.device) for part in (batch.ids, batch.positions, batch.labels)))
    return (logits_of(model, batch) - logits_of(other, batch)).abs().max().item()


def schedule(done: float, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine down to FINAL_RATE."""
    if done < warmup:
        return max(done, 1e-3) / warmup
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def share_done(params: Pretrain, step: int, spent: float) -> float:
    """How much of the run lies behind, by steps or by time, whichever is further."""
    by_step = step / params.max_steps if params.max_steps else 0.0
    by_time = spent / (60 * params.max_minutes) if params.max_minutes else 0.0
    return max(by_step, by_time)
