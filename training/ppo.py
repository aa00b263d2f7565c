"""Proximal policy optimisation against a reward model; with LoRA, one frozen base carries all four models.

The details that decide whether it learns follow Ouyang et al. (2022), Huang et al. (2024, The N+ Implementation
Details of RLHF with PPO) and Zheng et al. (2023, Secrets of RLHF).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from training import answers, data, forward, models, prompts, reports
from training.advantages import KLController, ScoreScale
from training.company import Company, Players, speakers, value_base
from training.data import RowAccount
from training.experience import gather, pick, reference_scale
from training.forward import Answered
from training.lanes import Lanes, count_for
from training.loop import Done, Look, Loop, Metrics
from training.policies import SharedBase, ValueModel, load_scorer
from training.prompts import Prompt
from training.results import recent, save_checked
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile, RunFileError
from training.schedule import learning_rate, set_rate
from training.updates import improve, learner

RELOAD_ROWS = 4
ADAM_EPS = 1e-5  # as in the PPO baselines; Huang et al. (2024)


def train(config: RunFile, run: RunDir) -> None:
    params = config.params
    if config.adapter and config.adapter.dropout:
        raise RunFileError("adapter.dropout", "must be 0 in a ppo run: with dropout the ratio is not 1 at the start")
    run.phase("loading")
    models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    players = assemble(config, tokenizer)
    learn, held_out, accounts = split_prompts(config, run, tokenizer, players.base)
    run.say("info", f"{len(learn)} prompts to learn from, {len(held_out)} held out.")
    data.introduce(run, config, tokenizer, learn[0].ids, [])
    forward.check_head(players.base.lm, learn[0].ids)
    shown = samples_of(players, held_out, config, run)  # before a checkpoint is put back
    state = LearningState(config, run, players)
    state.begin(learn)

    def look(step: int) -> Metrics:
        with lanes.resting():
            _, scores = shown.show(step)
        assert scores is not None
        return {"eval_score": scores.mean().item(), "eval_reward": state.scale(scores).mean().item()}

    count = count_for(players.base.lm, config.adapter.method if config.adapter else None)
    with Lanes(list(state.loop.weights.values()), learner(players), count) as lanes:
        looks = [Look(params.sample_every if held_out else 0, look)]
        state.loop.go(lambda step: one_step(state, lanes, learn, step), looks)
    run.phase("evaluating")
    figures = evaluate(players, shown, state.scale, run) if held_out else {}
    last = [a.answered for a in shown.before[:RELOAD_ROWS]] or experience_probe(players, learn, config)
    facts = {"reward_mean": state.scale.mean, "reward_std": state.scale.std, "beta": state.controller.beta}
    check = save_checked(players.base, players.policy, players.pack(last), tokenizer, config, run, **facts)
    run.write_report(
        reports.common(run, config, accounts, steps=params.steps, tokens=state.loop.tokens)
        | {
            "train": recent(run, "reward", "score", "kl", "length", "eos_rate", "explained_variance"),
            "eval": figures,
            "reload_check": check,
            "sample_rendered": data.render(tokenizer, *last[0]),
            "warnings": warnings(read_metrics(run.path), params, bool(held_out)),
        }
    )


class LearningState:
    """What changes while PPO learns: policy, value and their optimizers, the price of drifting, the reward's scale."""

    def __init__(self, config: RunFile, run: RunDir, players: Players) -> None:
        params = config.params
        self.config, self.run, self.players = config, run, players
        policy, value = players.policy_weights(), players.value.weights()
        self.value_rate = params.value_learning_rate or params.learning_rate
        self.policy_optimizer = torch.optim.AdamW(
            policy.values(), lr=params.learning_rate, weight_decay=params.weight_decay, eps=ADAM_EPS, fused=True
        )
        self.value_optimizer = torch.optim.AdamW(value.values(), lr=self.value_rate, eps=ADAM_EPS, fused=True)
        self.controller = KLController(params.beta, params.kl_target, params.kl_horizon)
        self.scale = ScoreScale()
        optimizers = {"policy_optimizer": self.policy_optimizer, "value_optimizer": self.value_optimizer}
        tensors: dict[str, Tensor] = {f"policy.{key}": weight for key, weight in policy.items()}
        tensors |= {f"value.{key}": weight for key, weight in value.items()}
        self.loop = Loop(config, run, tensors, optimizers, params.steps, self._memory)

    def begin(self, learn: Sequence[Prompt]) -> None:
        """The scale and the price that a checkpoint knows, or those of the start."""
        if known := self.loop.restored:
            self.scale, self.controller.beta = ScoreScale(*known["scale"]), known["beta"]
            return
        self.scale = reference_scale(self.players, learn, self.config, self.run)
        self.players.value.rescale(self.scale)

    def _memory(self) -> dict[str, Any]:
        return {"scale": [self.scale.mean, self.scale.std], "beta": self.controller.beta}


def one_step(state: LearningState, lanes: Lanes, learn: Sequence[Prompt], step: int) -> Done:
    """Answer some prompts, learn from the answers, and set the price of drifting for the next step."""
    config, players, controller = state.config, state.players, state.controller
    params = config.params
    set_rate(state.value_optimizer, learning_rate(params, step, params.steps) / params.learning_rate * state.value_rate)
    batch = pick(learn, step, params.rollout_batch, config.seed)
    experience = gather(players, batch, state.scale, controller.beta, seed=config.seed * 1_000_003 + step, lanes=lanes)
    # While the value head finds its feet, its advantages would lead the policy astray.
    optimizer = state.policy_optimizer if step > params.value_warmup_steps else None
    learnt = improve(lanes, players, experience, optimizer, state.value_optimizer, state.run, step, seed=config.seed)
    epoch = step * params.rollout_batch / len(learn)
    row = experience.metrics | learnt | {"beta": controller.beta, "epoch": epoch}
    controller.update(experience.metrics["kl"], len(batch))
    state.loop.warn(step, symptoms(row, params))
    return Done(row, len(batch), sum(len(p) + len(a) for p, a in experience.answered))


def assemble(config: RunFile, tokenizer: Any) -> Players:
    """The policy and the value, which learn, and the reward and the reference, which never do."""
    assert config.base_model is not None and config.reward_model is not None
    base, named = speakers(config)
    path, params = config.reward_model.path, config.params
    scorer = load_scorer(path, base, config.base_model.path, config.hardware, tokenizer, params.caution)
    start = config.start_adapter.path if config.start_adapter else None
    value = ValueModel(value_base(config, base), config.adapter, scorer, path, start)
    return Players(base=base, scorer=scorer, tokenizer=tokenizer, params=params, value=value, **named)


def split_prompts(
    config: RunFile, run: RunDir, tokenizer: Any, base: SharedBase
) -> tuple[list[Prompt], list[Prompt], list[RowAccount]]:
    """(prompts to learn from, held-out ones, accounts). Without a snapshot some of the file's prompts are held out."""
    params = config.params
    learn, account = prompts.load(config, run.path, tokenizer, "train", context=base.context)
    accounts, wanted = [account], params.eval_prompts
    held_out: list[Prompt] = []
    if config.snapshot:
        found = prompts.from_snapshot(config, "eval")
        held_out, eval_account = prompts.usable(found, "eval", tokenizer, params, context=base.context)
        held_out, accounts = held_out[:wanted], [account, eval_account]
    if not held_out:
        generator = torch.Generator().manual_seed(config.seed)
        order = torch.randperm(len(learn), generator=generator).tolist()
        held_out = [learn[row] for row in order[: min(wanted, len(learn) // 4)]]
    known = {tuple(prompt.ids) for prompt in held_out}
    return [prompt for prompt in learn if tuple(prompt.ids) not in known], held_out, accounts


def samples_of(players: Company, held_out: list[Prompt], config: RunFile, run: RunDir) -> answers.BeforeAndAfter:
    """What the policy answers to the held-out prompts before it learns."""
    params = config.params
    return answers.BeforeAndAfter(
        players.base, players.policy, held_out, players.tokenizer, players.scorer, run,
        batch_size=params.rollout_batch, seed=config.seed,
        max_new_tokens=params.max_new_tokens, temperature=params.temperature,
    )  # fmt: skip


def evaluate(players: Company, shown: answers.BeforeAndAfter, scale: ScoreScale, run: RunDir) -> dict[str, Any]:
    """The policy beside its own beginning on held-out prompts."""
    params = players.params
    after, scores = shown.show(params.steps, last=True)
    assert scores is not None and shown.scores_before is not None
    run.log(params.steps, eval_score=scores.mean().item(), eval_reward=scale(scores).mean().item())
    drifted = answers.in_batches([a.answered for a in after], params.rollout_batch, lambda rows: answers.drift(
        lambda: players.base.speaking_as(players.policy),
        lambda: players.reference_base.speaking_as(players.reference),
        players.pack(rows),
        temperature=params.temperature,
    ))  # fmt: skip
    better = (scores > shown.scores_before).sum().item() + 0.5 * (scores == shown.scores_before).sum().item()
    return {
        "score_before": shown.scores_before.mean().item(),
        "score": scores.mean().item(),
        "reward_before": scale(shown.scores_before).mean().item(),
        "reward": scale(scores).mean().item(),
        "scored_higher": reports.wilson(better, len(after)),
        "kl": drifted[:, 0].mean().item(),
        "kl_k3": drifted[:, 1].mean().item(),
        "length_before": sum(len(a.ids) for a in shown.before) / len(shown.before),
        "length": sum(len(a.ids) for a in after) / len(after),
        "eos_rate": sum(a.finish == "eos" for a in after) / len(after),
        "distinct_1": answers.distinct([a.ids for a in after], 1),
        "distinct_2": answers.distinct([a.ids for a in after], 2),
        "n": len(after),
    }


def experience_probe(players: Company, learn: Sequence[Prompt], config: RunFile) -> list[Answered]:
    """A few answers to compare the saved policy on when no prompt was held out."""
    params = config.params
    written = answers.write(
        players.base, players.policy, learn[:RELOAD_ROWS], players.tokenizer,
        seed=config.seed, max_new_tokens=params.max_new_tokens, temperature=params.temperature,
    )  # fmt: skip
    return [answer.answered for answer in written]


def symptoms(row: dict[str, Any], params: Any) -> list[str]:
    """What is wrong with a step, in words; nothing when it is well."""
    found = []
    limit = 2 * params.kl_target if params.kl_target else 30.0
    if row["kl"] > limit:
        found.append(f"KL is above {limit:g} nats: raise params.beta or lower params.learning_rate.")
    if row["eos_rate"] < 0.2:
        found.append("Fewer than a fifth of the answers end by themselves: raise params.max_new_tokens.")
    if row.get("clip_fraction", 0) > 0.4:
        found.append("More than 40 % of the tokens are clipped: lower params.learning_rate.")
    if row.get("entropy", 1) < 0.05:
        found.append("The policy hardly varies any more (entropy below 0.05 nats): raise params.beta.")
    return found


def warnings(rows: Sequence[dict[str, Any]], params: Any, held_out: bool) -> list[str]:
    """The symptoms of the second half of the run, when the policy that is kept was made, each once."""
    late = [row for row in rows if row.get("kl") is not None][len(rows) // 2 :]
    known = [{key: value for key, value in row.items() if value is not None} for row in late]
    found = list(dict.fromkeys(text for row in known for text in symptoms(row, params)))
    if not held_out:
        found.append("No prompt was held out: nothing says how well this generalises.")
    return found
