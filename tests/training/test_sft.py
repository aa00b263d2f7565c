import json
from pathlib import Path

import pytest
import torch

from tests.training.conftest import LORA, assistant, demonstrations, user, write_snapshot
from training import __main__ as engine
from training import forward, models, rundir, runfile, sft

QUICK = {"epochs": 4, "batch_size": 8, "checkpoint_every": 5, "learning_rate": 1e-2, "max_length": 128}


def run_here(folder: Path) -> int:
    try:
        return engine.main([str(folder)])
    except SystemExit as left:
        return left.code


def test_it_learns_and_says_what_it_did(make_run, demonstration_snapshot) -> None:
    folder = make_run("sft", params=QUICK | {"epochs": 8, "eval_every": 20}, snapshot=demonstration_snapshot)
    assert run_here(folder) == 0
    report = rundir.read_report(folder)
    assert report["train"]["loss"] < 0.5 * report["train"]["first_loss"]
    assert report["rows"]["train"] == {"read": 48, "used": 48, "truncated": 0, "dropped": {}}
    assert report["reload_check"]["ok"] and report["steps"] == 48 and report["tokens"] > 0
    assert report["sample_rendered"].startswith("<|im_start|>user\n")
    assert report["sample_rendered"].endswith("<|im_end|>")
    said, _, _ = (folder / "log.txt").read_text("utf-8").partition("phase training")
    assert "Template of the tokenizer; special tokens: no beginning, end <|im_end|> (2), padding <|pad|> (0)." in said
    assert f"as the model reads it: {report['sample_rendered']}".replace("\n", "\\n") in said
    assert [row["step"] for row in rundir.read_metrics(folder) if "eval_loss" in row] == [20, 40, 48]
    status = rundir.read_status(folder)
    assert (status["state"], status["step"], status["total"]) == ("succeeded", 48, 48)
    card = json.loads((folder / "model" / "hone.json").read_text())
    assert (card["kind"], card["role"], card["seed"]) == ("sft", "policy", 7)
    base = runfile.read(folder / "run.json").base_model.path
    assert card["base_model"] == {"path": str(base), "sha256": runfile.model_hash(base)}  # though run.json names none
    assert run_here(folder) == 0  # nothing left to do
    assert rundir.read_status(folder)["attempt"] == 1


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(make_run, demonstration_snapshot, monkeypatch) -> None:
    folder = make_run("sft", params=QUICK, snapshot=demonstration_snapshot, adapter=LORA)
    honest, calls = sft.answer_loss, []

    def lying(core, packed):
        calls.append(1)
        return honest(core, packed) * (float("nan") if len(calls) == 8 else 1.0)

    monkeypatch.setattr(sft, "answer_loss", lying)
    assert run_here(folder) == 1
    status = rundir.read_status(folder)
    assert (status["state"], status["error"]["code"], status["checkpoint"]) == ("failed", "nan", 5)
    assert "step 8" in status["error"]["message"]
    assert not (folder / "model").exists()
    assert run_here(folder) == 0


def test_rows_that_cannot_be_used_are_counted_or_stop_the_run(make_run, tmp_path) -> None:
    rows = [
        *demonstrations(18),
        {"prompt": [user("long")], "completion": [assistant("very " * 300)]},
        {"prompt": [user("nothing")], "completion": [assistant("")]},
    ]
    snapshot = write_snapshot(tmp_path / "snapshot", "sft", rows, [])
    params = QUICK | {"epochs": 1, "max_length": 100}
    refused = make_run("sft", "refused", params=params, snapshot=snapshot)
    assert run_here(refused) == 1
    error = rundir.read_status(refused)["error"]
    assert error["code"] == "data"
    assert "2 of 20 train rows cannot be used" in error["message"]
    accepted = make_run("sft", "accepted", params=params | {"max_dropped_share": 0.1}, snapshot=snapshot)
    assert run_here(accepted) == 0
    report = rundir.read_report(accepted)
    assert report["rows"]["train"]["dropped"] == {"too_long": 1, "empty_completion": 1}
    assert report["rows"]["train"]["used"] == 18
    assert "no held-out rows" in report["warnings"][0]


def test_a_snapshot_of_another_kind_is_named(make_run, tiny_snapshot) -> None:
    folder = make_run("sft", params=QUICK, snapshot=tiny_snapshot)
    assert run_here(folder) == 1
    assert rundir.read_status(folder)["error"]["message"] == "The snapshot has no column completion."


def test_the_loss_is_that_of_transformers_on_the_answers_alone(tiny_model_dir) -> None:
    model = models.load_causal(tiny_model_dir, models.Hardware(device="cpu")).eval()
    rows = [([5, 6, 7], [8, 9, 2]), ([10], [11, 12, 13, 14, 2])]
    ours = sft.answer_loss(model, forward.pack_answers(rows, 0, model.device))
    ids = torch.tensor([[5, 6, 7, 8, 9, 2], [10, 11, 12, 13, 14, 2]])
    labels = torch.tensor([[-100, -100, -100, 8, 9, 2], [-100, 11, 12, 13, 14, 2]])
    assert ours.item() == pytest.approx(model(ids, labels=labels).loss.item(), abs=1e-6)
