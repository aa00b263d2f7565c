"""A reward model: a score for every answer, learnt from which of two answers people preferred."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import adapters, data, forward, models, reports
from training.data import RowAccount
from training.loop import Look, Metrics, over_rows
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile, RunFileError

RELOAD_PAIRS = 4
EVAL_PAIRS = 16  # at once: nothing is gained by more, and the longest rows come together
SCALE_PAIRS = 512  # enough for the mean and deviation of the scores to about 3 %


@dataclass(frozen=True)
class Pair:
    """One judgement: token ids, and what the judges said beside the choice itself."""

    tokens: forward.Pair  # prompt, chosen, rejected
    margin: float
    weight: float
    letters: tuple[int, int]  # characters of the chosen and of the rejected answer
    truncated: bool  # the prompt has lost its beginning
    task: str  # whose answers these are
    doubt: float = 0.0  # how likely the verdict is the wrong way round; one half is a tie


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    account, pairs = encoded_pairs(config, tokenizer, "train")
    eval_account, eval_pairs = encoded_pairs(config, tokenizer, "eval")
    run.say("info", f"{account.used} pairs to learn from, {eval_account.used} held out.")
    model = load_model(config, tokenizer.pad_token_id)
    core = models.core(model)
    scores = scorer(core, tokenizer.pad_token_id)
    lengths = [sum(map(len, pair.tokens)) for pair in pairs]

    def look(step: int) -> Metrics:
        held_out = score_leads(core, scores, eval_pairs, run)
        return {"eval_accuracy": _accuracy(held_out)["value"], "eval_loss": _loss(held_out)}

    model.train()
    loop = over_rows(
        config, run, model, lengths,
        lambda rows: backward(core, scores, [pairs[row] for row in rows], params),
        looks=[Look(params.eval_every if eval_pairs else 0, look)],
    )  # fmt: skip
    run.phase("evaluating")
    model.eval()
    figures, warnings = judged(score_leads(core, scores, eval_pairs, run), eval_pairs)
    if eval_pairs:
        run.log(loop.total, eval_accuracy=figures["accuracy"]["value"], eval_loss=figures["loss"])
    mean, deviation = score_scale(core, scores, pairs, run)
    probe = [pair.tokens for pair in pairs[:RELOAD_PAIRS]]
    check = save_checked(model, scores, probe, tokenizer, config, run, reward_mean=mean, reward_std=deviation)
    losses = [row["loss"] for row in read_metrics(run.path) if row.get("loss") is not None]
    learnt = {"first_loss": losses[0], "loss": statistics.fmean(losses[-10:])}
    run.write_report(
        reports.common(run, config, [account, eval_account], steps=loop.total, tokens=loop.tokens)
        | {
            "train": learnt | {"reward_mean": mean, "reward_std": deviation},
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, probe[0][0], probe[0][1]),
            "warnings": warnings,
        }
    )


def backward(core: Any, scores: Scorer, batch: Sequence[Pair], params: Any) -> Metrics:
    """The gradients of some pairs, computed in parts; their loss and by how much the chosen answers lead."""
    device, lengths = core.device, [sum(map(len, pair.tokens)) for pair in batch]
    weight, leads, loss = sum(pair.weight for pair in batch), [], 0.0
    for rows in data.parts(range(len(batch)), lengths, forward.tokens_at_once(core)):
        part = [batch[row] for row in rows]
        chosen, rejected = scores([pair.tokens for pair in part]).chunk(2)
        share = sum(pair.weight for pair in part) / weight
        piece = share * preference_loss(
            chosen,
            rejected,
            margin=torch.tensor([pair.margin * params.margin for pair in part], device=device),
            weight=torch.tensor([pair.weight for pair in part], device=device),
            label_smoothing=torch.tensor([smoothed(pair.doubt, params) for pair in part], device=device),
            center=params.center_coefficient * len(part) / len(batch) / share,  # pairs weigh alike there
        )
        piece.backward()
        loss += piece.item()
        leads.append((chosen - rejected).detach())
    lead = torch.cat(leads)
    return {"loss": loss, "accuracy": (lead > 0).float().mean().item(), "margin": lead.mean().item()}


def save_checked(
    model: Any,
    scores: Scorer,
    probe: Sequence[forward.Pair],
    tokenizer: Any,
    config: RunFile,
    run: RunDir,
    **facts: Any,
) -> dict[str, Any]:
    """Write model/, load it back the plain way and compare it on `probe`; returns the reload check of the report."""
    with torch.no_grad():
        before = scores(probe).tolist()
    run.phase("saving")
    folder = models.save_reward(model, tokenizer, run, config, **facts)
    models.let_go(model)  # or two would be held at a time
    assert config.base_model is not None
    again = models.load_reward(
        folder,
        config.base_model.path,
        config.hardware,
        tokenizer.pad_token_id,
        training=config.adapter is None,
        adapter=config.adapter,
    )
    after = plain_scores(again, probe, tokenizer.pad_token_id)
    return reports.reload_check(before, after, tolerance=reports.tolerance_of(models.core(model).dtype))


def preference_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor, weight: Tensor, label_smoothing: float | Tensor, center: float
) -> Tensor:
    """The Bradley-Terry loss of B pairs as one number; all inputs are (B,).

    -(1 - e) log s(d) - e log s(-d) with d = chosen - rejected - margin: Ouyang et al. (2022) equation 1, the margin
    from Touvron et al. (2023) equation 2, e = `label_smoothing`, of all pairs or (B,) of each: with e the share of the
    judges who saw it the other way round, the labels are soft (Wang et al. 2024, Secrets of RLHF II, equation 7), and
    e = 1/2 is a tie, which pulls two scores together; averaged by `weight`. Added is `center` times the
    mean of (chosen + rejected)^2, which fixes the free constant: Eisenstein et al. (2023) section 3.
    """
    lead = chosen - rejected - margin
    losses = -(1 - label_smoothing) * F.logsigmoid(lead) - label_smoothing * F.logsigmoid(-lead)
    return (losses * weight).sum() / weight.sum() + center * ((chosen + rejected) ** 2).mean()


def smoothed(doubt: float, params: Any) -> float:
    """How likely a verdict is wrong, when one that is right is still turned round with the chance `label_smoothing`."""
    return params.label_smoothing + (1 - 2 * params.label_smoothing) * doubt


def prompts_alike(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with weights that sum to one mean pair for each task, however many answers it ranked.

    K answers make K (K - 1) / 2 pairs, which Ouyang et al. (2022), section 3.5, average so that no prompt outweighs.
    """
    counts = Counter(pair.task for pair in pairs)
    return [dataclasses.replace(pair, weight=pair.weight / counts[pair.task]) for pair in pairs]


def load_model(config: RunFile, pad_id: int) -> Any:
    """The base model with a score head, and a new or copied adapter where the run trains one."""
    assert config.base_model is not None
    whole = config.adapter is None
    model = models.load_classifier(
        config.base_model.path, config.hardware, pad_id, training=whole, adapter=config.adapter
    )
    if not isinstance(getattr(model, "score", None), nn.Linear):
        raise RunFileError("base_model.path", f"holds a {type(model).__name__}, whose score head Hone does not know")
    if config.adapter is None:
        return model
    start = config.start_adapter.path if config.start_adapter else None
    return adapters.attach(model, config.adapter, task="reward", start=start)


def encoded_pairs(config: RunFile, tokenizer: Any, split: str) -> tuple[RowAccount, list[Pair]]:
    """(account, usable pairs) of one split."""
    account, kept = RowAccount(split), []
    found = data.rows(config, split)
    data.require_columns(found, "prompt", "chosen", "rejected", *wanted_columns(config.params))
    limit, raisable = models.longest(config)
    for number, row in enumerate(found):
        row["task_id"] = row.get("task_id") if row.get("task_id") is not None else f"row {number}"
        pair, reason = _encoded(tokenizer, row, limit, config.params)
        if pair is None:
            account.drop(reason)
            continue
        account.use(truncated=pair.truncated)
        kept.append(pair)
    if found or split == "train":
        account.require(config.params.max_dropped_share, raisable=raisable)
    assert all(answer[-1] == tokenizer.eos_token_id for pair in kept for answer in pair.tokens[1:])
    return account, prompts_alike(kept) if config.params.per_prompt else kept


def wanted_columns(params: Any) -> list[str]:
    """What the settings ask of the snapshot besides the answers."""
    found = ["margin"] if params.margin else []
    found += [params.labels] if params.labels != "hard" else []
    return found + (["task_id"] if params.per_prompt else [])


def _encoded(tokenizer: Any, row: dict[str, Any], limit: int, params: Any) -> tuple[Pair | None, str]:
    prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
    if reason := data.unusable(tokenizer, prompt, chosen, rejected):
        return None, reason
    weight = row.get("weight")
    weight = 1.0 if weight is None else float(weight)
    if not weight > 0:
        return None, "weight_not_above_zero"
    prompt_ids, chosen_ids = data.encode_pair(tokenizer, prompt, chosen)
    _, rejected_ids = data.encode_pair(tokenizer, prompt, rejected)
    if chosen_ids == rejected_ids:
        return None, "answers_equal"
    room = limit - max(len(chosen_ids), len(rejected_ids))
    given = data.cut_prompt(tokenizer, prompt_ids, room) if params.long_prompts == "cut" else prompt_ids
    if given is None or len(given) > room:
        return None, "too_long"
    pair = Pair(
        tokens=(given, chosen_ids, rejected_ids),
        margin=float(row.get("margin") or 0.0),
        weight=weight,
        letters=(sum(len(m["content"]) for m in chosen), sum(len(m["content"]) for m in rejected)),
        truncated=len(given) < len(prompt_ids),
        task=str(row["task_id"]),
        doubt=0.0 if params.labels == "hard" else 1.0 - belief(row[params.labels]),
    )
    return pair, ""


def belief(value: Any) -> float:
    """A verdict's likelihood as the snapshot tells it: 1 where it says nothing, kept between 0 and 1."""
    return 1.0 if value is None else min(1.0, max(0.0, float(value)))


Scorer = Callable[[Sequence[forward.Pair]], Tensor]


def scorer(core: Any, pad_id: int) -> Scorer:
    """A function from B pairs to their (2B,) scores, chosen first; the prompt is read once where the model can."""

    def scores(pairs: Sequence[forward.Pair]) -> Tensor:
        packed = forward.pack_pairs(pairs, pad_id, core.device)
        hidden = forward.hidden_states(core, packed)[packed.ends]
        return core.score(hidden.to(core.score.weight.dtype))[:, 0].float()

    return scores


@torch.no_grad()
def plain_scores(model: Any, pairs: Sequence[forward.Pair], pad_id: int) -> list[float]:
    """(2B,) scores as any user of transformers gets them: padded rows in, logits out."""
    ids, mask = data.pad([p + c for p, c, _ in pairs] + [p + r for p, _, r in pairs], pad_id)
    return model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, 0].float().tolist()


@torch.no_grad()
def _all_scores(core: Any, scores: Scorer, pairs: Sequence[Pair], run: RunDir) -> tuple[list[float], list[float]]:
    was_training = core.training
    core.eval()
    chosen, rejected = [0.0] * len(pairs), [0.0] * len(pairs)
    for batch in data.in_order([sum(map(len, pair.tokens)) for pair in pairs], EVAL_PAIRS):
        run.leave_if_stopped()
        found = scores([pairs[row].tokens for row in batch]).tolist()
        for place, row in enumerate(batch):
            chosen[row], rejected[row] = found[place], found[len(batch) + place]
    core.train(was_training)
    return chosen, rejected


def score_leads(core: Any, scores: Scorer, pairs: Sequence[Pair], run: RunDir) -> list[float]:
    """By how much each chosen answer leads."""
    chosen, rejected = _all_scores(core, scores, pairs, run)
    return [c - r for c, r in zip(chosen, rejected, strict=True)]


def score_scale(core: Any, scores: Scorer, pairs: Sequence[Pair], run: RunDir) -> tuple[float, float]:
    """Mean and deviation of the scores of training answers, by which PPO brings rewards to one scale."""
    some = pairs[:: max(1, len(pairs) // SCALE_PAIRS)]
    chosen, rejected = _all_scores(core, scores, some, run)
    return statistics.fmean(chosen + rejected), statistics.stdev(chosen + rejected)


def judged(leads: Sequence[float], pairs: Sequence[Pair]) -> tuple[dict[str, Any], list[str]]:
    """(held-out figures, warnings): accuracy and calibration, beside what the length of the answers alone would say."""
    if not pairs:
        return {}, ["The snapshot has no held-out pairs: nothing says how accurate this reward model is."]
    chances = [1 / (1 + math.exp(-max(-500.0, min(500.0, lead)))) for lead in leads]
    right = [1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0 for p in chances]
    ece, bins = reports.calibration([max(p, 1 - p) for p in chances], right)
    shorter = [pair.letters[1] - pair.letters[0] for pair in pairs]
    figures: dict[str, Any] = {
        "accuracy": _accuracy(leads),
        "loss": _loss(leads),
        "ece": ece,
        "calibration": bins,
        "baseline_shorter": _accuracy(shorter),
        "baseline_longer": _accuracy([-lead for lead in shorter]),
    }
    name, rule = max(
        (("shorter", shorter), ("longer", [-lead for lead in shorter])), key=lambda each: _accuracy(each[1])["value"]
    )
    figures["over_baseline"] = {"baseline": name} | reports.paired(_right(leads), _right(rule))
    return figures, _compared(figures)


def _compared(figures: dict[str, Any]) -> list[str]:
    """A sentence when this model is not clearly better than the better of the two rules, judged on the same rows."""
    over = figures["over_baseline"]
    if over["low"] > 0:
        return []
    both = (figures["accuracy"], figures[f"baseline_{over['baseline']}"])
    shown = [f"{each['value']:.1%} ({each['low']:.1%} to {each['high']:.1%})" for each in both]
    chance = " beyond chance" if over["value"] > 0 else ""
    return [
        f"This reward model does not beat the rule that the {over['baseline']} answer wins{chance}: {shown[0]} against"
        f" {shown[1]} on {over['n']} held-out pairs; they differ by between {over['low']:.1%} and {over['high']:.1%}."
    ]


def _accuracy(leads: Sequence[float]) -> dict[str, Any]:
    """How often the chosen answer leads, ties counting half."""
    return reports.wilson(sum(_right(leads)), len(leads))


def _right(leads: Sequence[float]) -> list[float]:
    return [1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in leads]


def _loss(leads: Sequence[float]) -> float:
    return -F.logsigmoid(torch.tensor(leads, dtype=torch.float64)).mean().item()
