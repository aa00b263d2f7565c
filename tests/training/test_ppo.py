import json
from pathlib import Path

import pytest
import torch

from tests.training.conftest import LORA, tiny_llama, tiny_tokenizer
from tests.training.test_policies import CPU, stir, write_reward
from training import experience, forward, models, policies, ppo, runfile, updates
from training.advantages import KLController, ScoreScale
from training.lanes import Lanes
from training.params import PPO
from training.rundir import RunDir, read_metrics, read_report, read_samples, read_status

PARAMS = {
    "steps": 4,
    "rollout_batch": 16,
    "minibatch": 8,
    "ppo_epochs": 2,
    "learning_rate": 0.005,
    "value_warmup_steps": 1,
    "max_new_tokens": 10,
    "eval_prompts": 8,
    "sample_every": 2,
    "checkpoint_every": 2,
}


class StopsAt(RunDir):
    """Is asked to stop during one step."""

    stop_at = 0

    def log(self, step, **metrics):
        super().log(step, **metrics)
        self.stop_requested = self.stop_requested or step == self.stop_at


def train(folder: Path, stop_at: int = 0) -> None:
    run = StopsAt(folder)
    run.stop_at = stop_at
    with run.recorded():
        ppo.train(runfile.read(folder / "run.json"), run)


@pytest.fixture(autouse=True)
def few_answers_fix_the_scale(monkeypatch):
    monkeypatch.setattr(experience, "NORM_ANSWERS", 32)


@pytest.fixture
def reward(tmp_path, tiny_model_dir):
    return write_reward(tmp_path / "reward", tiny_model_dir)


@pytest.fixture
def make_ppo(make_run, tiny_snapshot, reward):
    def make(name: str = "ppo", *, params=None, **keys) -> Path:
        keys = {"reference": "base", "reward_model": reward, "adapter": LORA} | keys
        return make_run("ppo", name, snapshot=tiny_snapshot, params=PARAMS | (params or {}), **keys)

    return make


@pytest.fixture
def players(make_ppo):
    folder = make_ppo("players", params={"temperature": 0.7, "beta": 0.1})
    config = runfile.read(folder / "run.json")
    tokenizer = models.load_tokenizer(config, folder)
    torch.manual_seed(0)
    return ppo.assemble(config, tokenizer)


@pytest.fixture
def prompts():
    return [ppo.Prompt(str(n), [], [5 + n, 6, 7][: 1 + n % 3]) for n in range(12)]


def test_at_step_0_the_ratio_is_1_and_there_is_no_kl(players, prompts):
    got = experience.gather(players, prompts, ScoreScale(), 0.1, seed=0)
    assert got.metrics["kl"] == pytest.approx(0, abs=1e-4)
    assert got.metrics["kl3"] == pytest.approx(0, abs=1e-5)
    batch = players.pack(got.answered)
    with players.base.speaking_as(policies.POLICY) as lm:
        logps = batch.per_answer(forward.token_logps(lm, batch, temperature=0.7)[0])
    assert (logps - got.logps).exp()[got.mask].sub(1).abs().max() < 1e-4


def test_after_learning_rollouts_still_agree_with_the_training_pass(players, prompts):
    stir(players.policy_weights().values())
    got = experience.gather(players, prompts, ScoreScale(), 0.1, seed=0)
    assert got.metrics["kl3"] > 0.1
    batch = players.pack(got.answered)
    with players.base.speaking_as(policies.POLICY) as lm:
        logps = batch.per_answer(forward.token_logps(lm, batch, temperature=0.7)[0])
    assert (logps - got.logps).exp()[got.mask].sub(1).abs().max() < 1e-3
    with players.reference_base.answering_as(players.reference) as lm:
        reference = batch.per_answer(forward.token_logps(lm, batch, temperature=0.7)[0])
    drift = ((got.logps - reference) * got.mask).sum(dim=1).mean()  # k1, which the reward pays; k3 is for display
    assert got.metrics["kl"] == pytest.approx(drift.item(), abs=1e-3)
    assert got.advantages[got.mask].mean() == pytest.approx(0, abs=1e-4)  # whitened over real tokens
    assert got.advantages[got.mask].std(correction=0) == pytest.approx(1, abs=1e-3)


def test_a_step_is_no_longer_than_the_clipped_gradient():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert updates.take_step(torch.optim.SGD([weight], lr=1.0), {"weight": weight}, 1.0) == pytest.approx(5)
    assert weight.tolist() == pytest.approx([-0.6, -0.8], abs=1e-4) and weight.grad is None


def test_policy_and_value_have_a_gradient_of_their_own_and_nobody_else_gets_one(players, prompts):
    got = experience.gather(players, prompts, ScoreScale(), 0.1, seed=0)
    policy, value = players.policy_weights(), players.value.weights()
    with Lanes([], updates.learner(players), 1) as alone:
        assert updates.gradients(alone, got, range(12), policy=False).keys() == {"value_loss"}
        assert all(weight.grad is None for weight in policy.values())
        assert updates.take_step(torch.optim.SGD(value.values(), lr=0.0), value, 1.0) > 1e-3
        row = updates.gradients(alone, got, range(12))
    assert row["ratio_max"] == pytest.approx(1, abs=1e-4) and row["clip_fraction"] == 0
    assert updates.take_step(torch.optim.SGD(policy.values(), lr=0.0), policy, 1.0) > 1e-3
    value_weights = {id(weight) for weight in value.values()}
    assert all(id(w) in value_weights for w in players.base.lm.parameters() if w.grad is not None)


def test_a_minibatch_in_parts_and_in_lanes_has_the_gradient_of_the_whole(players, prompts, monkeypatch):
    got = experience.gather(players, prompts, ScoreScale(), 0.1, seed=0)
    stir(players.policy_weights().values())  # so that ratios differ from 1
    weights = [*players.policy_weights().values(), *players.value.weights().values()]
    found = []
    for count, most in ((2, 10_000), (1, 10_000), (1, 40)):
        monkeypatch.setattr(forward, "tokens_at_once", lambda _, most=most: most)
        assert (len(players.parted(got.answered, range(12))) == 1) == (most > 40)
        with Lanes(weights, updates.learner(players), count) as some:
            row = updates.gradients(some, got, range(12))
        found.append((row, [weight.grad.clone() for weight in weights]))
        for weight in weights:
            weight.grad = None
    (lanes, in_lanes), (whole, at_once), (parts, in_parts) = found
    for one, two, three in zip(at_once, in_lanes, in_parts, strict=True):
        assert torch.allclose(one, two, atol=1e-5) and torch.allclose(one, three, atol=1e-5)
    assert any(each.abs().max() > 1e-3 for each in at_once)
    assert lanes == pytest.approx(whole, abs=1e-5) and parts == pytest.approx(whole, abs=1e-5)


def test_a_step_whose_answers_were_written_in_lanes_is_weighed_as_one(players, prompts):
    with Lanes([], updates.learner(players), 2) as pair:
        got, again = (experience.gather(players, prompts, ScoreScale(), 0.1, seed=3, lanes=pair) for _ in "ab")
    assert got.answered == again.answered and [prompt for prompt, _ in got.answered] == [
        prompt.ids for prompt in prompts[::2] + prompts[1::2]
    ]
    first = experience.gather(players, prompts[::2], ScoreScale(), 0.1, seed=3)
    assert got.answered[:6] == first.answered and got.answered[6:] != first.answered
    assert torch.allclose(got.logps[:6, : first.logps.shape[1]], first.logps, atol=1e-5)
    scores = players.scorer.score(got.answered, players.pad_id)
    assert got.metrics["score"] == pytest.approx(scores.mean().item(), abs=1e-4)
    assert got.advantages[got.mask].mean() == pytest.approx(0, abs=1e-4)  # of both lanes' answers together


def test_the_reward_sits_on_the_last_token_and_a_missing_end_costs(players, prompts, monkeypatch):
    seen = {}
    genuine = experience.advantages.token_rewards
    monkeypatch.setattr(
        experience.advantages,
        "token_rewards",
        lambda kl, earned, lengths, *, beta: (
            seen.update(earned=earned, rewards=genuine(kl, earned, lengths, beta=beta)) or seen["rewards"]
        ),
    )
    scale = ScoreScale(1.0, 2.0)
    got = experience.gather(players, prompts * 20, scale, 0.0, seed=0)
    scores = players.scorer.score(got.answered, players.pad_id)
    ended = torch.tensor([answer[-1] == players.tokenizer.eos_token_id for _, answer in got.answered])
    assert ended.any() and not ended.all()
    assert torch.allclose(seen["earned"], scale(scores) - 1.0 * (~ended), atol=1e-5)
    for row, (_, answer) in enumerate(got.answered):
        assert seen["rewards"][row].nonzero().flatten().tolist() == [len(answer) - 1]


def test_the_value_of_a_step_is_the_normalised_score_of_what_stands_before_it(players, prompts):
    scale = ScoreScale(0.5, 3.0)
    players.value.rescale(scale)
    got = experience.gather(players, prompts, scale, 0.1, seed=0)
    prompt, answer = max(got.answered, key=lambda pair: len(pair[1]))
    row = got.answered.index((prompt, answer))
    shorter = players.scorer.score([(prompt, answer[:-1])], players.pad_id)
    assert got.values[row, len(answer) - 1] == pytest.approx(scale(shorter).item(), abs=1e-4)


def test_where_all_weights_learn_the_value_starts_from_the_reward_model_too(make_ppo, prompts):
    folder = make_ppo(adapter=None)
    config = runfile.read(folder / "run.json")
    players = ppo.assemble(config, models.load_tokenizer(config, folder))
    scale = ScoreScale(mean=0.3, std=2.0)
    players.value.rescale(scale)
    got = experience.gather(players, prompts, scale, 0.0, seed=0)
    row = max(range(len(prompts)), key=lambda row: len(got.answered[row][1]))
    prompt, answer = got.answered[row]
    shorter = players.scorer.score([(prompt, answer[:-1])], players.pad_id)
    assert got.values[row, len(answer) - 1] == pytest.approx(scale(shorter).item(), abs=1e-4)
    assert players.value.weights().keys() > players.policy_weights().keys()  # all of them learn


def test_a_whole_run_moves_the_policy_alone_and_reports(make_ppo, reward, tiny_model_dir, monkeypatch):
    kept = {}
    assemble = ppo.assemble

    def remember(*arguments):
        players = assemble(*arguments)
        moving = (".default.", ".value.")
        kept["lm"] = players.base.lm
        kept["before"] = {
            key: weight.clone()
            for key, weight in players.base.lm.state_dict().items()
            if not any(mark in key for mark in moving)
        }
        kept["head"] = (players.scorer, players.scorer.members["reward"][0].clone())
        return players

    monkeypatch.setattr(ppo, "assemble", remember)
    monkeypatch.setattr(models, "let_go", lambda model: None)  # what it ended with is looked at below
    folder = make_ppo()
    train(folder)
    after = kept["lm"].state_dict()
    assert any(".reward." in key for key in kept["before"])
    assert all(torch.equal(after[key], weight) for key, weight in kept["before"].items())
    assert torch.equal(kept["head"][0].members["reward"][0], kept["head"][1])

    rows, report = read_metrics(folder), read_report(folder)
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-3) and "policy_loss" not in rows[0]  # the value warms up
    assert rows[1]["kl"] == pytest.approx(0, abs=1e-3)  # nothing had moved when these answers were written
    assert rows[3]["kl3"] > 1e-5
    names = "reward score kl kl3 beta clip_fraction entropy policy_loss value_loss explained_variance length length_p10"
    names += " length_p90 eos_rate ratio_max lr grad_norm epoch tokens_per_s samples_per_s"
    assert set(names.split()) <= set(rows[1])
    assert "eval_score" in rows[1] and "eval_score" in rows[3]
    assert report["reload_check"]["ok"] and report["eval"]["n"] == 8 and report["eval"]["kl"] > 0
    assert report["rows"]["train"]["used"] == 48 and report["rows"]["eval"]["used"] == 16
    samples = read_samples(folder)
    assert {row["step"] for row in samples} == {2, 4}
    assert {"prompt", "before", "after", "reward_before", "reward_after"} <= set(samples[0])
    card = json.loads((folder / "model/hone.json").read_text())
    assert card["role"] == "policy" and card["reward_std"] > 0
    assert {p.name for p in (folder / "model").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not [p for p in (folder / "model").iterdir() if p.is_dir()]


def test_the_reward_of_reference_answers_has_mean_0_and_deviation_1(players, prompts, make_ppo, tmp_path):
    config = runfile.read(make_ppo("scale") / "run.json")
    scale = experience.reference_scale(players, prompts, config, RunDir(tmp_path / "scale"))
    got = experience.gather(players, prompts * 20, scale, 0.1, seed=5)
    assert got.metrics["reward"] == pytest.approx(0, abs=0.3)
    assert scale.std != 1
    head = players.value.head.weight.clone()
    state = ppo.LearningState(config, RunDir(tmp_path / "scale"), players)
    state.begin(prompts)  # the value speaks in the same units
    assert torch.allclose(players.value.head.weight, head / state.scale.std)


def test_a_stop_in_the_step_that_shows_samples_loses_nothing(make_ppo):
    folder = make_ppo(params={"checkpoint_every": 0})
    with pytest.raises(SystemExit):
        train(folder, stop_at=2)  # sample_every is 2
    assert read_status(folder)["checkpoint"] == 2


@pytest.mark.slow
def test_it_raises_the_score_that_it_is_paid_for(make_ppo, monkeypatch):
    def liked(base):
        """The tokens on one side of the embedding: half of them, and easy to learn."""
        return base.lm.get_input_embeddings().weight[:, 0] > 0

    def score(self, answered, pad_id):
        return torch.stack([liked(self.base)[torch.tensor(answer)].float().mean() for _, answer in answered])

    kept = []
    assemble = ppo.assemble
    monkeypatch.setattr(ppo, "assemble", lambda *given: kept.append(assemble(*given)) or kept[0])
    monkeypatch.setattr(models, "let_go", lambda model: None)  # what it ended with is looked at below
    monkeypatch.setattr(policies.SharedScorer, "score", score)
    # No penalty for a missing end: a random model hardly ever ends, and would learn that before anything else.
    goal = {"missing_eos_penalty": 0.0, "eval_prompts": 0, "max_new_tokens": 6, "beta": 0.01}
    train(make_ppo(params=goal | {"steps": 8, "learning_rate": 0.01, "rollout_batch": 32}))
    base, asked = kept[0].base, torch.tensor([[5 + n, 6, 7] for n in range(12)])
    shares = []
    for name in (None, policies.POLICY):
        with torch.no_grad(), base.speaking_as(name) as lm:
            shares.append(lm(asked).logits[:, -1].softmax(dim=-1)[:, liked(base)].sum(dim=-1).mean().item())
    assert shares[1] > shares[0] + 0.01  # of what it would draw: answers themselves are too few to tell


def test_the_reference_can_be_the_adapter_that_the_policy_starts_from(make_ppo, tiny_model_dir, tmp_path):
    torch.manual_seed(0)
    base = policies.SharedBase(tiny_model_dir, CPU)
    base.add(policies.POLICY, runfile.Adapter(r=4, alpha=8))
    stir(base.weights(policies.POLICY).values(), seed=4)
    base.save_pretrained(tmp_path / "start")
    keys = {"start_adapter": tmp_path / "start", "params": {"steps": 2, "value_warmup_steps": 0, "eval_prompts": 0}}
    own, bare = make_ppo("own", reference="start_adapter", **keys), make_ppo("bare", reference="base", **keys)
    train(own)
    train(bare)
    assert read_metrics(own)[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert read_metrics(bare)[0]["kl3"] > 0.05
    assert "No prompt was held out" in " ".join(read_report(own)["warnings"])


@pytest.mark.parametrize("kind", ["classifier", "adapter on another base"])
def test_a_reward_model_of_its_own_works_too(make_ppo, tmp_path, tiny_model_dir, kind):
    folder = tmp_path / "own-reward"
    if kind == "classifier":
        model = models.load_classifier(tiny_model_dir, CPU, 0)
        stir([model.score.weight])
        model.save_pretrained(folder)
    else:
        tiny_llama(tiny_tokenizer(), seed=5).save_pretrained(tmp_path / "other")
        write_reward(folder, tmp_path / "other")
    run = make_ppo(reward_model=folder, params={"steps": 2})
    train(run)
    assert read_report(run)["reload_check"]["ok"]


def test_prompts_can_come_from_a_file_and_some_are_held_out(make_run, reward):
    folder = make_run(
        "ppo", prompts="prompts.jsonl", reference="base", reward_model=reward, adapter=LORA,
        params=PARAMS | {"steps": 1, "value_warmup_steps": 0},
    )  # fmt: skip
    lines = [{"id": str(n), "prompt": [{"role": "user", "content": f"where is order {n}"}]} for n in range(20)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    train(folder)
    assert read_report(folder)["eval"]["n"] == 5
    assert read_report(folder)["rows"]["train"]["used"] == 20


def test_an_adaptive_price_follows_the_kl(make_ppo):
    folder = make_ppo(params={"kl_target": 0.5, "kl_horizon": 100, "value_warmup_steps": 0, "eval_prompts": 0})
    train(folder)
    rows = read_metrics(folder)
    expected = KLController(beta=0.05, target=0.5, horizon=100)
    for row in rows:
        assert row["beta"] == pytest.approx(expected.beta)
        expected.update(row["kl"], answers=16)
    assert rows[-1]["beta"] != rows[0]["beta"] == 0.05


def test_dropout_is_refused(make_ppo):
    folder = make_ppo(adapter=LORA | {"dropout": 0.1})
    with pytest.raises(SystemExit) as refused:
        train(folder)
    assert refused.value.code == 2
    assert "adapter.dropout" in read_status(folder)["error"]["message"]


def test_every_prompt_is_asked_once_an_epoch(prompts):
    asked = [prompt.id for step in (1, 2, 3) for prompt in ppo.pick(prompts, step, 8, seed=3)]
    assert sorted(asked[:12]) == sorted(asked[12:]) == sorted(prompt.id for prompt in prompts)
    assert asked[:12] != asked[12:]
    assert [p.id for p in ppo.pick(prompts, 2, 8, seed=3)] == asked[8:16]  # a resume needs no state


def test_symptoms_are_named():
    params = PPO(kl_target=5.0)
    well = {"kl": 3.0, "eos_rate": 0.9, "clip_fraction": 0.1, "entropy": 1.0}
    assert ppo.symptoms(well, params) == []
    assert "KL is above 10 nats" in ppo.symptoms(well | {"kl": 11.0}, params)[0]
    assert "end by themselves" in ppo.symptoms(well | {"eos_rate": 0.1}, params)[0]
    assert "clipped" in ppo.symptoms(well | {"clip_fraction": 0.5}, params)[0]
    assert "varies" in ppo.symptoms(well | {"entropy": 0.01}, params)[0]
    early = [well | {"kl": 99.0}] * 2 + [well] * 2
    assert ppo.warnings(early, params, held_out=True) == []
