import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from tests.training.conftest import LORA, preferences, write_snapshot
from tests.training.test_sft import run_here
from training import models, reward, reward_rows, rundir, runfile
from training.reward_losses import preference_loss
from training.rundir import RunDir, read_metrics
from training.runfile import Hardware

QUICK = {"epochs": 4, "batch_size": 8, "checkpoint_every": 5, "learning_rate": 5e-3, "max_length": 128}
TOKENS = [([5, 6, 7], [8, 9, 2], [10, 2]), ([11], [2], [12, 13, 14, 2]), ([15, 16], [17, 2], [2])]
PAIRS = [reward_rows.Pair(tokens, 0.0, 1.0, (1, 1), False, "a") for tokens in TOKENS]


def loss_of(chosen: list[float], rejected: list[float], **keys: object) -> float:
    options = {
        "margin": [0.0] * len(chosen),
        "weight": [1.0] * len(chosen),
        "label_smoothing": 0.0,
        "center": 0.0,
    } | keys
    tensors = {name: torch.tensor(options.pop(name)) for name in ("margin", "weight")}
    return preference_loss(torch.tensor(chosen), torch.tensor(rejected), **tensors, **options).item()


def nll(lead: float) -> float:
    return math.log1p(math.exp(-lead))


def test_the_loss_by_hand() -> None:
    assert loss_of([0.0], [0.0]) == pytest.approx(math.log(2))
    assert loss_of([2.0, 0.0], [1.0, 1.0]) == pytest.approx((nll(1) + nll(-1)) / 2)
    assert loss_of([2.0], [1.0], margin=[3.0]) == pytest.approx(nll(-2))
    assert loss_of([2.0, 0.0], [1.0, 1.0], weight=[3.0, 1.0]) == pytest.approx((3 * nll(1) + nll(-1)) / 4)
    assert loss_of([2.0], [1.0], label_smoothing=0.1) == pytest.approx(0.9 * nll(1) + 0.1 * nll(-1))
    assert loss_of([2.0], [1.0], center=0.5) == pytest.approx(nll(1) + 0.5 * 9)
    both = loss_of([2.0], [1.0], margin=[3.0], label_smoothing=0.1)  # whoever prefers the other asks for a lead as well
    assert both == pytest.approx(0.9 * nll(1 - 3) + 0.1 * nll(-1 - 3))


def test_scores_do_not_depend_on_how_pairs_are_laid_out(tiny_model_dir) -> None:
    torch.manual_seed(0)
    core = models.load_classifier(tiny_model_dir, Hardware(device="cpu"), 0).eval()
    with torch.no_grad():
        core.score.weight.normal_()
        found = reward.outputs_of(core, PAIRS, 0)
    assert core.hone_reads_trees and found.shape == (6, 1)
    assert torch.allclose(found, reward.plain_outputs(core, PAIRS, 0), atol=1e-4)
    core.hone_reads_trees = False
    with torch.no_grad():
        assert torch.allclose(found, reward.outputs_of(core, PAIRS, 0), atol=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's, of transformers
def test_it_learns_what_people_prefer_and_plain_libraries_load_it(make_run, tiny_model_dir, tiny_snapshot) -> None:
    folder = make_run("reward", params=QUICK, snapshot=tiny_snapshot, adapter=LORA)
    assert run_here(folder) == 0
    report = rundir.read_report(folder)
    assert report["eval"]["accuracy"]["value"] > 0.9
    assert report["reload_check"]["ok"] and report["reload_check"]["max_abs_diff"] < 1e-4
    assert sum(row["n"] for row in report["eval"]["calibration"]) == 16
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model_dir, num_labels=1)
    model = PeftModel.from_pretrained(base, folder / "model").eval()
    assert model.get_base_model().score.weight.std() > 0
    card = json.loads((folder / "model" / "hone.json").read_text())
    assert card["role"] == "reward"
    assert (card["reward_mean"], card["reward_std"]) == (report["train"]["reward_mean"], report["train"]["reward_std"])


def test_margins_and_weights_are_used_when_asked_for(make_run, tiny_snapshot) -> None:
    folder = make_run("reward", params=QUICK | {"epochs": 1, "margin": True}, snapshot=tiny_snapshot, adapter=LORA)
    assert run_here(folder) == 0
    # Margins of 1 to 3 before anything is learnt: well above log 2.
    assert rundir.read_metrics(folder)[0]["loss"] > 1.2


def test_a_reward_model_no_better_than_a_ruler_says_so(make_run, tmp_path) -> None:
    rows = [
        row | {"rejected": [{"role": "assistant", "content": "x" + row["chosen"][0]["content"]}]}
        for row in preferences(24)
    ]
    snapshot = write_snapshot(tmp_path / "snapshot", "preference", rows, rows[:8])
    folder = make_run("reward", params=QUICK | {"epochs": 1, "learning_rate": 1e-6}, snapshot=snapshot, adapter=LORA)
    assert run_here(folder) == 0
    report = rundir.read_report(folder)
    assert report["eval"]["baseline_shorter"]["value"] == 1.0
    assert "does not beat the rule that the shorter answer wins" in report["warnings"][0]


def test_pairs_that_teach_nothing_are_counted(make_run, tmp_path) -> None:
    rows = preferences(20)
    rows[3]["rejected"] = rows[3]["chosen"]
    rows[4]["weight"] = 0.0
    rows[5]["chosen"] = [{"role": "assistant", "content": "very " * 80}]
    snapshot = write_snapshot(tmp_path / "snapshot", "preference", rows, preferences(4, first=50))
    folder = make_run("reward", params=QUICK | {"epochs": 1, "max_dropped_share": 0.2}, snapshot=snapshot, adapter=LORA)
    assert run_here(folder) == 0
    reasons = {"answers_equal": 1, "weight_not_above_zero": 1, "too_long": 1}
    assert rundir.read_report(folder)["rows"]["train"]["dropped"] == reasons


def test_long_prompts_are_cut_only_when_asked_for_and_counted(make_run, tmp_path) -> None:
    rows = preferences(20)
    rows[3]["prompt"] = [{"role": "user", "content": "very " * 30}]
    snapshot = write_snapshot(tmp_path / "snapshot", "preference", rows, preferences(4, first=50))
    params = QUICK | {"epochs": 1, "max_length": 128, "long_prompts": "cut", "off_topic": 0.5}
    folder = make_run("reward", params=params, snapshot=snapshot, adapter=LORA)
    assert run_here(folder) == 0
    report = rundir.read_report(folder)
    assert report["rows"]["train"] == {"read": 20, "used": 20, "truncated": 1, "dropped": {}}
    added = report["train"]["off_topic"]  # rows that no judge saw are counted apart
    assert 5 <= added <= 10
    assert f"20 pairs to learn from with {added} answers to other prompts" in (folder / "log.txt").read_text()


def test_a_result_that_does_not_reload_fails_the_run(make_run, tiny_snapshot, monkeypatch) -> None:
    folder = make_run("reward", params=QUICK | {"epochs": 1}, snapshot=tiny_snapshot, adapter=LORA)
    honest = models.load_reward

    def without_its_head(*values: object, **keys: object) -> object:
        model = honest(*values, **keys)
        with torch.no_grad():
            model.get_base_model().score.weight.zero_()
        return model

    monkeypatch.setattr(models, "load_reward", without_its_head)
    assert run_here(folder) == 1
    assert "differs from the trained one" in rundir.read_status(folder)["error"]["message"]
    assert rundir.read_report(folder) is None
    assert Path(folder / "checkpoints").is_dir()


def test_soft_labels_are_the_cross_entropy_with_the_share_of_judges():
    chosen, rejected = torch.tensor([2.0, 0.5]), torch.tensor([0.0, 0.0])
    doubt = torch.tensor([0.25, 0.5])
    ones = torch.ones(2)
    got = preference_loss(chosen, rejected, margin=torch.zeros(2), weight=ones, label_smoothing=doubt, center=0.0)
    right = [-math.log(1 / (1 + math.exp(-lead))) for lead in (2.0, 0.5)]
    wrong = [-math.log(1 / (1 + math.exp(lead))) for lead in (2.0, 0.5)]
    assert got.item() == pytest.approx((0.75 * right[0] + 0.25 * wrong[0] + 0.5 * right[1] + 0.5 * wrong[1]) / 2)


def test_a_tie_pulls_two_scores_together():
    scores = torch.tensor([1.0, -1.0], requires_grad=True)
    chosen, rejected = scores.chunk(2)
    one = torch.ones(1)
    preference_loss(chosen, rejected, margin=0 * one, weight=one, label_smoothing=0.5 * one, center=0.0).backward()
    assert scores.grad[0] > 0 > scores.grad[1]


def test_a_ranking_weighs_as_much_as_one_pair():
    def pair(task, weight=1.0):
        return reward_rows.Pair(([1], [2], [3]), 0.0, weight, (1, 1), False, task)

    found = reward_rows.prompts_alike([pair("a"), pair("a"), pair("a", 2.0), pair("b", 2.0)])
    assert [each.weight for each in found] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2.0])


def test_a_verdict_is_as_sure_as_it_is_strong():
    params = SimpleNamespace(labels="strength", margin=False, per_prompt=False)
    assert reward_rows.wanted_columns(params) == ["margin"]
    doubts = [reward_rows._doubt({"margin": margin}, params) for margin in (None, 0, 1, 2, 3, 9, -1)]
    assert doubts == pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 6, 0, 0, 1 / 2])


def test_what_was_judged_several_times_is_learnt_once_with_the_mean_of_its_losses():
    def pair(chosen: int, doubt: float, weight: float = 1.0, prompt: int = 0) -> reward_rows.Pair:
        tokens, letters = ([prompt], [chosen], [5 - chosen]), (chosen, 5 - chosen)
        return reward_rows.Pair(tokens, 2.0, weight, letters, False, "t", doubt=doubt)

    votes = [pair(2, 0.1), pair(3, 0.2, 2.0), pair(3, 0.0), pair(2, 0.3, prompt=1)]
    together, alone = reward_rows.judged_together(votes)
    assert alone is votes[3]
    assert (together.tokens, together.letters, together.weight) == (([0], [3], [2]), (3, 2), 4.0)

    scores = {2: 0.7, 3: -0.4}

    def loss(pairs: list[reward_rows.Pair]) -> float:
        sides = (torch.tensor([scores[each.tokens[side][0]] for each in pairs]) for side in (1, 2))
        weight, doubt = (torch.tensor([getattr(each, name) for each in pairs]) for name in ("weight", "doubt"))
        return preference_loss(
            *sides, margin=torch.zeros(len(pairs)), weight=weight, label_smoothing=doubt, center=0.0
        ).item()

    assert loss([together]) == pytest.approx(loss(votes[:3]), abs=1e-6)


def test_an_answer_to_another_prompt_is_the_worse_one():
    pairs = [
        reward_rows.Pair(([n], [n, 10 + n], [n, 20]), 2.0, 1.0, (n, 0), False, str(n), doubt=0.3) for n in range(9)
    ]
    found = reward_rows.off_topic(pairs, 0.5, 5, seed=1)
    assert found == reward_rows.off_topic(pairs, 0.5, 5, seed=1)
    assert [dataclasses.replace(pair, elsewhere=None) for pair in found] == pairs
    made = [pair for pair in found if pair.elsewhere]
    assert 2 <= len(made) <= 4
    for pair in made:
        prompt, good, bad = pair.tokens
        assert pair.elsewhere in [each.tokens[1] for each in pairs] and pair.elsewhere != good
        assert pair.tree == (prompt, [good, bad, pair.elsewhere])
    assert reward_rows.off_topic(pairs, 0.0, 5, seed=1) == reward_rows.off_topic(pairs, 1.0, 2, seed=1) == pairs


def test_labels_can_be_as_soft_as_the_judges_agreed(make_run, tiny_model_dir, tmp_path):
    pairs = [row | {"agreement": 0.5} for row in preferences(16)]
    snapshot = write_snapshot(tmp_path / "soft", "preference", pairs, [])
    params = {"max_steps": 2, "batch_size": 8, "labels": "agreement", "center_coefficient": 0.0, "per_prompt": True}
    folder = make_run("reward", adapter=LORA, snapshot=snapshot, params=params)
    run = RunDir(folder)
    with run.recorded():
        reward.train(runfile.read(folder / "run.json"), run)
    assert read_metrics(folder)[0]["loss"] >= math.log(2) - 1e-6  # a tie costs least where both scores are equal
    hard = make_run("reward", "no-column", adapter=LORA, snapshot=snapshot, params=params | {"labels": "posterior"})
    run = RunDir(hard)
    with pytest.raises(SystemExit), run.recorded():
        reward.train(runfile.read(hard / "run.json"), run)
    assert "no column posterior" in (hard / "log.txt").read_text()
