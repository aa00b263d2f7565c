import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import LORA
from training import dpo, forward, models, runfile
from training.learning_params import DPO
from training.rundir import RunDir, read_metrics, read_report, read_samples

PARAMS = {"batch_size": 8, "learning_rate": 0.01, "max_new_tokens": 8, "sample_prompts": 2, "checkpoint_every": 4}


class StopsAt(RunDir):
    """Is asked to stop during one step."""

    stop_at = 0

    def log(self, step, **metrics):
        super().log(step, **metrics)
        self.stop_requested = self.stop_requested or step == self.stop_at


def train(folder: Path, stop_at: int = 0) -> RunDir:
    run = StopsAt(folder)
    run.stop_at = stop_at
    with run.recorded():
        dpo.train(runfile.read(folder / "run.json"), run)
    return run


@pytest.fixture
def make_dpo(make_run, tiny_snapshot):
    def make(name: str = "dpo", *, adapter=LORA, params=None, **keys) -> Path:
        keys = {"reference": "base"} | keys
        return make_run("dpo", name, snapshot=tiny_snapshot, adapter=adapter, params=PARAMS | (params or {}), **keys)

    return make


def test_it_learns_what_the_pairs_have_in_common(make_dpo, tiny_model_dir):
    folder = make_dpo(params={"epochs": 8.0, "eval_every": 6})
    base = load_file(tiny_model_dir / "model.safetensors")
    train(folder)
    rows, report = read_metrics(folder), read_report(folder)
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)  # no drift before the first update
    assert rows[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert rows[-1]["loss"] < 0.5 and report["eval"]["accuracy"]["value"] > 0.9
    assert rows[5]["eval_loss"] > report["eval"]["loss"]
    assert report["eval"]["accuracy"]["n"] == 16 and report["reload_check"]["ok"]
    assert report["rows"]["train"] == {"read": 48, "used": 48, "truncated": 0, "dropped": {}}
    assert {"lr", "grad_norm", "epoch", "tokens_per_s", "chosen_reward", "rejected_reward", "accuracy"} <= set(rows[0])
    assert all(
        torch.equal(base[key], weight) for key, weight in load_file(tiny_model_dir / "model.safetensors").items()
    )
    samples = read_samples(folder)
    assert len(samples) == 2 and samples[0]["before"] != samples[0]["after"]
    assert {"adapter_model.safetensors", "hone.json", "tokenizer_config.json"} <= {
        p.name for p in (folder / "model").iterdir()
    }
    assert json.loads((folder / "model/hone.json").read_text())["reference"] == "base"


def test_the_reference_can_be_the_adapter_that_the_policy_starts_from(make_dpo):
    first = make_dpo("first", params={"max_steps": 3})
    train(first)
    second = make_dpo("second", start_adapter=first / "model", reference="start_adapter", params={"max_steps": 2})
    train(second)
    assert read_metrics(second)[0]["margin"] == pytest.approx(0, abs=1e-5)
    third = make_dpo("third", start_adapter=first / "model", reference="base", params={"max_steps": 2})
    train(third)
    assert abs(read_metrics(third)[0]["margin"]) > 1e-3  # the start already differs from the bare base
    assert len(list((second / "cache/reference").iterdir())) == 1


def test_all_weights_can_learn_and_the_reference_stays_what_it_was(make_dpo, tiny_model_dir):
    folder = make_dpo(adapter=None, params={"learning_rate": 0.001, "max_steps": 6, "checkpoint_every": 2})
    with pytest.raises(SystemExit):
        train(folder, stop_at=3)
    train(folder)
    rows = read_metrics(folder)
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5) and rows[-1]["loss"] < 0.69
    saved = models.load_causal(folder / "model", runfile.read(folder / "run.json").hardware)
    assert not torch.equal(saved.lm_head.weight, models.load_causal(tiny_model_dir, runfile.Hardware()).lm_head.weight)


@pytest.mark.parametrize(
    ("loss", "smoothing"),
    [("ipo", 0.0), ("hinge", 0.0), ("robust", 0.2), ("sigmoid_norm", 0.1), ("apo_zero", 0.0), ("apo_down", 0.0)],
)
def test_every_loss_trains(make_dpo, loss, smoothing):
    folder = make_dpo(params={"loss": loss, "label_smoothing": smoothing, "max_steps": 4, "sample_prompts": 0})
    train(folder)
    rows = read_metrics(folder)
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["margin"] > 0
    assert read_samples(folder) == []


@pytest.mark.parametrize("loss", ["simpo", "orpo"])
def test_losses_without_a_reference_need_none_and_compute_none(make_dpo, loss):
    folder = make_dpo(reference=None, params={"loss": loss, "max_steps": 4, "sample_prompts": 0})
    train(folder)
    rows = read_metrics(folder)
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["margin"] > rows[0]["margin"]
    assert not (folder / "cache").exists() and "reference" not in (folder / "log.txt").read_text()
    config = json.loads((folder / "run.json").read_text())
    with pytest.raises(runfile.RunFileError, match=f"no meaning with the {loss} loss"):
        runfile.check(config | {"reference": "base"})
    config["params"]["loss"] = "sigmoid"
    with pytest.raises(runfile.RunFileError, match="reference is required"):
        runfile.check(config)


def test_a_row_counts_in_its_batch_what_it_weighs(make_dpo):
    learner = dpo.Learner(*dpo.load_policy(runfile.read(make_dpo() / "run.json")), forward.pack_pairs, 0, DPO())
    with torch.no_grad():
        for weight in learner.base.weights(learner.policy).values():
            weight.normal_(std=0.3, generator=torch.Generator().manual_seed(3))
    one, other = ([5, 6], [7, 8, 2], [9, 2]), ([11], [12, 2], [13, 14, 2])
    found = []
    for rows, weights in (([one, one, other], [0.5] * 3), ([one, other], [1.0, 0.5])):
        pairs = dpo.Pairs(dpo.RowAccount("train"), rows, [], weights=weights)
        loss = dpo.backward(learner, pairs, torch.zeros(2, len(rows)), list(range(len(rows))))["loss"]
        gradients = [weight.grad for weight in learner.base.weights(learner.policy).values()]
        found.append(torch.cat([torch.tensor([loss]), *(each.flatten() for each in gradients)]))
        for weight in learner.base.weights(learner.policy).values():
            weight.grad = None
    assert torch.allclose(*found, atol=1e-6) and found[0].abs().sum() > 0.1


def test_beta_is_the_loss_own_unless_it_is_given(make_dpo):
    assert runfile.read(make_dpo() / "run.json").params.beta == 0.1
    simpo = make_dpo("simpo", reference=None, params={"loss": "simpo"})
    assert runfile.read(simpo / "run.json").params.beta == 2.0
    given = make_dpo("given", params={"loss": "sigmoid_norm", "beta": 0.7})
    assert runfile.read(given / "run.json").params.beta == 0.7


def test_dropout_acts_while_learning_and_never_on_the_reference(make_dpo):
    folder = make_dpo(adapter=LORA | {"dropout": 0.5}, params={"max_steps": 3})
    plain = make_dpo("plain", params={"max_steps": 3})
    train(folder)
    train(plain)
    assert read_metrics(folder)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)  # B is zero at first
    assert read_metrics(folder)[2]["loss"] != read_metrics(plain)[2]["loss"]


def test_a_model_that_cannot_take_trees_takes_two_rows_and_says_so(make_dpo, monkeypatch):
    folder = make_dpo(params={"max_steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr(forward, "reads_trees", lambda *_: False)
        train(folder)
    tree = make_dpo("tree", params={"max_steps": 2})
    train(tree)
    assert "each pair takes two rows" in (folder / "log.txt").read_text()
    assert read_metrics(folder)[1]["loss"] == pytest.approx(read_metrics(tree)[1]["loss"], abs=1e-4)
