import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import LORA, judged, write_snapshot
from training import kto, runfile
from training.rundir import RunDir, read_metrics, read_report, read_samples, read_status

PARAMS = {"batch_size": 8, "learning_rate": 0.01, "max_new_tokens": 6, "sample_prompts": 2, "checkpoint_every": 4}


def train(folder: Path) -> RunDir:
    run = RunDir(folder)
    with run.recorded():
        kto.train(runfile.read(folder / "run.json"), run)
    return run


@pytest.fixture
def make_kto(make_run, binary_snapshot):
    def make(name: str = "kto", *, adapter=LORA, params=None, **keys) -> Path:
        keys = {"reference": "base", "snapshot": binary_snapshot} | keys
        return make_run("kto", name, adapter=adapter, params=PARAMS | (params or {}), **keys)

    return make


def test_wanted_answers_become_likelier_than_unwanted_ones(make_kto, tiny_model_dir):
    before = load_file(tiny_model_dir / "model.safetensors")
    folder = make_kto(params={"epochs": 5.0, "eval_every": 12, "beta": 0.5, "learning_rate": 0.02})
    train(folder)
    rows, report = read_metrics(folder), read_report(folder)
    assert rows[0]["loss"] == pytest.approx(0.5, abs=1e-5) and rows[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["loss"] < 0.35 and rows[-1]["margin"] > 1 and max(row["kl"] for row in rows) > 0
    assert report["eval"]["accuracy"]["value"] > 0.9 and report["eval"]["accuracy"]["n"] == 6
    assert "eval_loss" in rows[11] and report["reload_check"]["ok"] and len(read_samples(folder)) == 2
    assert report["rows"]["train"] == {"read": 48, "used": 48, "truncated": 0, "dropped": {}}
    after = load_file(tiny_model_dir / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_every_prompt_meets_the_answer_of_another_and_always_the_same():
    rows = [([n], [10 + n, 99]) for n in range(7)]
    found = kto.with_others(rows, limit=100, seed=5)
    assert [row[:2] for row in found] == rows
    assert all(other != answer for _, answer, other in found)
    assert sorted(other for *_, other in found) == sorted(answer for _, answer in rows)
    assert found == kto.with_others(rows, limit=100, seed=5)
    assert all(len(other) == 1 for *_, other in kto.with_others(rows, limit=2, seed=5))


def test_a_run_without_unwanted_answers_learns_and_says_so(make_kto, tmp_path):
    wanted = [row for row in judged(30) if row["label"]]
    folder = make_kto(snapshot=write_snapshot(tmp_path / "one-sided", "binary", wanted, []), params={"max_steps": 2})
    train(folder)
    assert read_metrics(folder)[0]["rejected_reward"] is None
    warnings = read_report(folder)["warnings"]
    assert any("no unwanted answers" in text for text in warnings)


def test_lopsided_labels_come_with_the_weight_that_balances_them(make_kto):
    folder = make_kto(params={"max_steps": 1})
    train(folder)  # 32 wanted answers, 16 unwanted
    assert any("params.undesirable_weight = 2 " in text for text in read_report(folder)["warnings"])


def test_it_names_its_reference_and_refuses_pairs(make_kto, tiny_snapshot):
    folder = make_kto(snapshot=tiny_snapshot)
    with pytest.raises(SystemExit):
        train(folder)
    assert "no column completion, label" in read_status(folder)["error"]["message"]
    with pytest.raises(runfile.RunFileError, match="reference is required"):
        runfile.check(json.loads((folder / "run.json").read_text()) | {"reference": None})
