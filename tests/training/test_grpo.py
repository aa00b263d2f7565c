import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import LORA, question, tiny_llama, tiny_tokenizer, user
from training import groups, losses, rules, runfile
from training.rundir import RunDir, read_metrics, read_report, read_samples

PARAMS = {
    "steps": 3, "prompts_per_step": 2, "samples": 4, "minibatch": 4, "learning_rate": 0.01, "max_new_tokens": 6,
    "eval_prompts": 2, "sample_every": 0, "checkpoint_every": 0, "rule": "words:1-2",
}  # fmt: skip


def train(folder: Path) -> None:
    run = RunDir(folder)
    config = runfile.read(folder / "run.json")
    with run.recorded():
        import_module(f"training.{config.kind}").train(config, run)


@pytest.fixture
def make_group(make_run):
    def make(kind: str = "grpo", name: str | None = None, *, params=None, **keys) -> Path:
        given = {"adapter": LORA, "reference": "base", "prompts": "prompts.jsonl"} | keys
        folder = make_run(kind, name or kind, params=PARAMS | (params or {}), **given)
        lines = [json.dumps({"id": str(n), "prompt": [user(question(n))]}) for n in range(8)]
        (folder / "prompts.jsonl").write_text("\n".join(lines))
        return folder

    return make


def test_advantages_of_a_group_are_centred_and_scaled_by_its_deviation():
    rewards = torch.tensor([1.0, 2.0, 3.0, 6.0, 5.0, 5.0, 5.0, 5.0])
    got = groups.group_advantages(rewards, 4, scale="group").view(2, 4)
    assert got.mean(dim=1).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert got[0, 3].item() == pytest.approx(3 / (14 / 3) ** 0.5, rel=1e-3)  # variance (4 + 1 + 0 + 9) / 3
    assert got[1].tolist() == [0, 0, 0, 0]
    assert groups.group_advantages(rewards, 4, scale="none")[:4].tolist() == [-2, -1, 0, 3]


def test_leaving_one_out_compares_each_answer_with_the_mean_of_the_others():
    got = groups.leave_one_out(torch.tensor([1.0, 2.0, 6.0, 4.0, 4.0, 4.0]), 3)
    assert got.tolist() == [1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0]
    assert got.view(2, 3).sum(dim=1).tolist() == pytest.approx([0, 0])


def test_token_losses_by_hand():
    old = torch.zeros(1, 3)
    logps = torch.tensor([[1.0, 1.5, 0.5]]).log()
    each, ratio = groups.grpo_losses(logps, old, old, torch.tensor([2.0]), clip=0.2, clip_high=0.3, beta=0.1)
    kl = [0.0, 1 / 1.5 - 1 + torch.tensor(1.5).log().item(), 2 - 1 + torch.tensor(0.5).log().item()]
    assert each[0].tolist() == pytest.approx([-2.0, -2.6 + 0.1 * kl[1], -1.0 + 0.1 * kl[2]], rel=1e-5)
    assert ratio[0].tolist() == pytest.approx([1.0, 1.5, 0.5])


def test_shares_of_parts_add_up_to_the_mean_of_the_minibatch():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    each = torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
    for kind, wanted in (("grpo", (2 + 4) / 2), ("dapo", 10 / 4), ("dr_grpo", 10 / (2 * 5))):
        whole = groups.share_of(each, mask, kind, rows=2, tokens=4.0, longest=5)
        parts = [groups.share_of(each[[i]], mask[[i]], kind, rows=2, tokens=4.0, longest=5) for i in (0, 1)]
        assert whole.item() == pytest.approx(wanted) and sum(parts).item() == pytest.approx(wanted)


def test_the_gradient_of_rloo_at_a_ratio_of_one_is_reinforce():
    logps = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]], requires_grad=True)
    advantages, mask = torch.tensor([2.0, -1.0]), torch.tensor([[True, True], [True, False]])
    loss, ratio = groups.rloo_losses(logps, logps.detach(), advantages, mask, clip=0.2)
    loss.sum().backward()
    assert logps.grad.tolist() == [[-2.0, -2.0], [1.0, 0.0]] and ratio.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("rule", "answer", "worth"),
    [
        ("json", '{"a": 1}', 1.0),
        ("json", "{a}", 0.0),
        ("regex:^yes", "yes, sir", 1.0),
        ("regex:^yes", "no", 0.0),
        ("words:2-4", "one two three", 1.0),
        ("words:2-4", "one", 0.5),
        ("words:2-4", "a b c d e f", 0.5),
    ],
)
def test_rules_by_hand(rule, answer, worth):
    assert rules.parse(rule)(answer) == worth


@pytest.mark.parametrize("rule", ["", "xml", "regex:", "regex:(", "words:4-2", "words:0-3", "json:yes"])
def test_a_rule_that_cannot_be_is_refused(rule):
    with pytest.raises(ValueError, match=r"must be|no regular expression"):
        rules.parse(rule)


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_a_whole_run_moves_the_policy_alone_and_reports(make_group, tiny_model_dir, kind):
    before = load_file(tiny_model_dir / "model.safetensors")
    folder = make_group(kind)
    train(folder)
    rows, report, said = read_metrics(folder), read_report(folder), (folder / "log.txt").read_text()
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4) and "did not" not in said and "The ratio was" not in said
    assert {"score", "kl3", "clip_fraction", "entropy", "ratio_max", "same_score", "length_p90"} <= set(rows[0])
    assert report["reload_check"]["ok"] and report["eval"]["n"] == 2 and len(read_samples(folder)) == 2
    after = load_file(tiny_model_dir / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_reward_model_on_the_same_base_scores_the_groups(make_group, make_run, tiny_snapshot):
    reward = make_run("reward", adapter=LORA, snapshot=tiny_snapshot, params={"max_steps": 2, "batch_size": 8})
    train(reward)
    folder = make_group(params={"rule": None, "steps": 1}, reward_model=reward / "model")
    train(folder)
    row, report = read_metrics(folder)[0], read_report(folder)
    assert row["same_score"] == 0 and row["ratio_max"] < 1.2
    assert report["eval"]["score_before"] is not None and "reward_before" in read_samples(folder)[0]


@pytest.fixture
def outspoken_model_dir(tmp_path) -> Path:
    """The tiny model with embeddings fifteen times as long.

    Its head is its embedding, which does not learn: of a fresh one, whose numbers deviate by 0.02, no state brings a
    logit above 0.6, and every policy speaks nearly at random.
    """
    tokenizer, folder = tiny_tokenizer(), tmp_path / "outspoken"
    model = tiny_llama(tokenizer)
    with torch.no_grad():
        model.get_input_embeddings().weight *= 15
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_it_learns_what_the_rule_pays_for(make_group, outspoken_model_dir, kind):
    params = {
        "steps": 15, "prompts_per_step": 4, "samples": 8, "minibatch": 16, "rule": "regex:a", "beta": 0.0,
        "max_new_tokens": 4, "learning_rate": 0.02, "eval_prompts": 0,
    }  # fmt: skip
    folder = make_group(kind, params=params, base_model=outspoken_model_dir)
    train(folder)
    scores = [row["score"] for row in read_metrics(folder)]
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {"samples": 1}}, "params.samples must be at least 2"),
        ({"params": {"minibatch": 3}}, "params.minibatch must divide the 8 answers"),
        ({"params": {"rule": "xml"}}, "params.rule must be json, regex"),
        ({"params": {"rule": None}}, "reward_model or params.rule is required for a grpo run"),
        ({"reward_model": {"path": "r"}}, "params.rule and a reward model cannot both"),
        ({"reference": None}, "reference is required for a grpo run"),
        ({"adapter": {"method": "adalora"}}, "adapter.method cannot be adalora in a grpo run"),
    ],
)
def test_what_cannot_be_run_is_refused(make_group, change, message):
    data = json.loads((make_group() / "run.json").read_text())
    data |= {key: data["params"] | value if key == "params" else value for key, value in change.items()}
    with pytest.raises(runfile.RunFileError) as refused:
        runfile.check(data)
    assert message in str(refused.value)


def test_the_kl_term_is_never_negative():
    generator = torch.Generator().manual_seed(0)
    logps, ref = (-torch.rand(4, 5, generator=generator) for _ in range(2))
    assert (losses.kl_k3(logps, ref) >= 0).all()
