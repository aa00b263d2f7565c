"""A reward model: a score for every answer, learnt from pairs, rankings or ratings, by one head or by several."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training import adapters, data, ensembles, forward, models, reports
from training.heads import Heads
from training.lanes import Lanes, Learn, count_for
from training.loop import Look, Metrics, over_rows
from training.reward_objectives import OBJECTIVES, Objective
from training.reward_rows import aspects_of, encoded, kind_of
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile, RunFileError

RELOAD_ROWS = 4
EVAL_ROWS = 16  # at once: nothing is gained by more, and the longest rows come together
SCALE_ROWS = 512  # enough for the mean and deviation of the scores to about 3 %


def train(config: RunFile, run: RunDir) -> None:
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    pad_id = tokenizer.pad_token_id
    found = data.rows(config, "train")
    kind, aspects = kind_of(found), aspects_of(found)
    OBJECTIVES[kind].require_meaning(config.params)
    account, rows = encoded(config, tokenizer, "train", kind, aspects)
    eval_account, eval_rows = encoded(config, tokenizer, "eval", kind, aspects)
    distinct, others = len(rows), sum(getattr(row, "elsewhere", None) is not None for row in rows)
    objective = OBJECTIVES[kind](config, rows, aspects)
    told = f" ({distinct} of them different)" if distinct < account.used else ""
    told += f" by {', '.join(aspects)}" if kind == "rating" else ""
    told += f" with {others} answers to other prompts beside them" if others else ""
    run.say("info", f"{account.used} {objective.noun} to learn from{told}, {eval_account.used} held out.")
    prompt, answers = rows[0].tree
    data.introduce(run, config, tokenizer, prompt, answers[0])
    model = load_model(config, pad_id, objective.heads)
    core = models.core(model)
    lengths = [length_of(row) for row in rows]

    def look(step: int) -> Metrics:
        return objective.brief(objective.judge(eval_rows, all_outputs(core, eval_rows, pad_id, run))[0])

    model.train()
    count = count_for(model, config.adapter.method if config.adapter else None)
    with Lanes(models.trainable(model), learner(core, objective, pad_id, count), count) as lanes:
        loop = over_rows(
            config, run, model, lengths,
            lambda batch: backward(lanes, batch, lengths),
            most_at_once=tokens_at_once(core),
            looks=[Look(config.params.eval_every if eval_rows else 0, look)],
        )  # fmt: skip
    run.phase("evaluating")
    model.eval()
    figures, warnings = objective.judge(eval_rows, all_outputs(core, eval_rows, pad_id, run))
    if figures:
        run.log(loop.total, **objective.brief(figures))
    mean, deviation = score_scale(core, objective, pad_id, run)
    facts = {"heads": objective.heads.card(), "reward_mean": mean, "reward_std": deviation}
    check = save_checked(model, rows[:RELOAD_ROWS], tokenizer, config, run, **facts)
    losses = [row["loss"] for row in read_metrics(run.path) if row.get("loss") is not None]
    learnt = {"first_loss": losses[0], "loss": statistics.fmean(losses[-10:])}
    learnt |= {"reward_mean": mean, "reward_std": deviation}
    run.write_report(
        reports.common(run, config, [account, eval_account], steps=loop.total, tokens=loop.tokens)
        | {
            "train": learnt | {"distinct": distinct, "off_topic": others},
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, prompt, answers[0]),
            "warnings": warnings,
        }
    )


def load_model(config: RunFile, pad_id: int, heads: Heads) -> Any:
    """The base model with a score head, and a new or copied adapter where the run trains one, or one a member."""
    assert config.base_model is not None
    model = models.load_classifier(
        config.base_model.path,
        config.hardware,
        pad_id,
        training=config.adapter is None,
        adapter=config.adapter,
        outputs=heads.each,
    )
    if not isinstance(getattr(model, "score", None), nn.Linear):
        raise RunFileError("base_model.path", f"holds a {type(model).__name__}, whose score head Hone does not know")
    if config.adapter is None:
        return model
    start = config.start_adapter.path if config.start_adapter else None
    if heads.apart:
        return ensembles.attach(model, config.adapter, heads.members, start=start)
    return adapters.attach(model, config.adapter, task="reward", start=start)


def length_of(row: Any) -> int:
    """Tokens of a row, its prompt counted once."""
    prompt, answers = row.tree
    return len(prompt) + sum(map(len, answers))


def tokens_at_once(core: Any) -> int:
    """How many tokens may be computed before their backward pass, by all members that have an adapter of their own."""
    return forward.tokens_at_once(core) // ensembles.count(core)


def outputs_of(core: Any, rows: Sequence[Any], pad_id: int) -> Tensor:
    """(A, O) what the heads say of all answers of some rows, row by row; a prompt is read once where the model can."""
    packed = forward.pack_trees([row.tree for row in rows], pad_id, core.device)

    def of_one() -> Tensor:
        hidden = forward.hidden_states(core, packed, packed.ends)
        return core.score(hidden.to(core.score.weight.dtype)).float()

    return ensembles.outputs(core, of_one)


def backward(lanes: Lanes, batch: list[int], lengths: Sequence[int]) -> Metrics:
    """The gradients of some rows, computed in lanes; their loss and by how much the better answers lead."""
    parts = lanes.split(batch, [lengths[row] for row in batch])
    found = lanes.work([{"part": part, "batch": batch} for part in parts])
    loss, leads = sum(each["loss"] for each in found), [lead for each in found for lead in each["leads"]]
    if not leads:
        return {"loss": loss}
    right = sum(lead > 0 for lead in leads) / len(leads)
    return {"loss": loss, "accuracy": right, "margin": sum(leads) / len(leads)}


def learner(core: Any, objective: Objective, pad_id: int, count: int = 1) -> Learn:
    """What one of `count` lanes does: the gradients of a part of a batch, in pieces that fit in all lanes at a time.

    Returned are their loss, and the leads in them.
    """

    def learn(job: dict[str, list[int]]) -> dict[str, Any]:
        lengths = [length_of(objective.rows[row]) for row in job["part"]]
        leads: list[float] = []
        loss = 0.0
        for places in data.parts(range(len(lengths)), lengths, tokens_at_once(core) // count):
            some = [job["part"][place] for place in places]
            outputs = outputs_of(core, [objective.rows[row] for row in some], pad_id)
            piece, found = objective.loss(outputs, some, job["batch"])
            piece.backward()
            loss += piece.item()
            leads += found
        return {"loss": loss, "leads": leads}

    return learn


@torch.no_grad()
def all_outputs(core: Any, rows: Sequence[Any], pad_id: int, run: RunDir) -> list[Tensor]:
    """What the heads say of the answers of each row, (K, O) on the processor; of rows alike, once."""
    was_training = core.training
    core.eval()
    keys = [(tuple(prompt), *map(tuple, answers)) for prompt, answers in (row.tree for row in rows)]
    different = list(dict(zip(keys, rows, strict=True)).items())
    found: dict[Any, Tensor] = {}
    for batch in data.in_order([length_of(row) for _, row in different], EVAL_ROWS):
        run.leave_if_stopped()
        some = [different[place][1] for place in batch]
        parts = outputs_of(core, some, pad_id).cpu().split([len(row.tree[1]) for row in some])
        found |= zip((different[place][0] for place in batch), parts, strict=True)
    core.train(was_training)
    return [found[key] for key in keys]


def score_scale(core: Any, objective: Objective, pad_id: int, run: RunDir) -> tuple[float, float]:
    """Mean and deviation of the scores of training answers, by which PPO brings rewards to one scale."""
    some = objective.rows[:: max(1, len(objective.rows) // SCALE_ROWS)]
    scores = objective.heads.scores(torch.cat(all_outputs(core, some, pad_id, run)))
    return scores.mean().item(), scores.std(correction=min(1, len(scores) - 1)).item()


def save_checked(
    model: Any, probe: Sequence[Any], tokenizer: Any, config: RunFile, run: RunDir, **facts: Any
) -> dict[str, Any]:
    """Write model/, load it back the plain way and compare it on `probe`; returns the reload check of the report."""
    core, pad_id = models.core(model), tokenizer.pad_token_id
    with torch.no_grad():
        before = outputs_of(core, probe, pad_id).flatten().tolist()
    run.phase("saving")
    folder = models.save_reward(model, tokenizer, run, config, **facts)
    models.let_go(model)  # or two would be held at a time
    assert config.base_model is not None
    again = models.load_reward(
        folder,
        config.base_model.path,
        config.hardware,
        pad_id,
        training=config.adapter is None,
        adapter=config.adapter,
    )
    after = plain_outputs(again, probe, pad_id).flatten().tolist()
    return reports.reload_check(before, after, tolerance=reports.tolerance_of(core.dtype))


@torch.no_grad()
def plain_outputs(model: Any, rows: Sequence[Any], pad_id: int) -> Tensor:
    """(A, O) as any user of transformers gets them: padded rows in, logits out."""
    ids, mask = data.pad(
        [prompt + answer for prompt, answers in (row.tree for row in rows) for answer in answers], pad_id
    )
    asked = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    return ensembles.outputs(model, lambda: model(**asked).logits.float())
