import json
import math
from pathlib import Path

import pytest
import torch

from tests.training.conftest import LORA, question, user
from training import best_of_n, inputs, merge, models, runfile, sft
from training.rundir import RunDir, read_metrics, read_report
from training.runfile import Hardware, RunFileError

CPU = Hardware(device="cpu", threads=1)


@pytest.fixture(scope="module")
def reward_dir(tmp_path_factory, tiny_model_dir) -> Path:
    """A whole reward model with a random head."""
    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(4)
    models.load_classifier(tiny_model_dir, CPU, 0).save_pretrained(folder)
    return folder


def write_prompts(folder: Path) -> None:
    lines = [json.dumps({"id": str(n), "prompt": [user(question(n))]}) for n in range(5)]
    (folder / "prompts.jsonl").write_text("\n".join(lines))


def test_the_best_of_each_prompt_is_kept_with_its_reward(make_run, reward_dir):
    params = {"samples": 4, "keep": "best_and_worst", "batch_size": 8, "max_new_tokens": 5}
    folder = make_run("best_of_n", params=params, reward_model=reward_dir, prompts="prompts.jsonl")
    write_prompts(folder)
    run = RunDir(folder)
    with run.recorded():
        best_of_n.train(runfile.read(folder / "run.json"), run)
    rows = [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]
    assert len(rows) == 5 and all(len(row["responses"]) == 2 for row in rows)
    assert all(row["responses"][0]["reward"] >= row["responses"][1]["reward"] for row in rows)
    report, metrics = read_report(folder), read_metrics(folder)
    assert report["eval"]["reward"] > report["eval"]["mean_reward"] and len(metrics) == 3
    assert report["eval"]["kl"] == pytest.approx(math.log(4) - 3 / 4)
    assert report["eval"]["eos_rate"] > 0.8 or "of the answers were cut off" in report["warnings"][0]


def test_choosing_by_hand():
    rewards = [1.0, 3.0, 2.0, 5.0, 5.0, 4.0]
    assert best_of_n.chosen(rewards, 3, "best") == [1, 3]
    assert best_of_n.chosen(rewards, 3, "best_and_worst") == [1, 0, 3, 5]
    assert best_of_n.figures_of(rewards, 3) == (pytest.approx(20 / 6), 4.0)
    assert best_of_n.chosen([2.0, 2.0], 2, "best_and_worst") == [0, 1]  # never the same answer twice


def test_a_merged_adapter_speaks_as_the_two_did_apart(make_run, demonstration_snapshot, tiny_model_dir):
    trained = make_run(
        "sft", adapter=LORA, snapshot=demonstration_snapshot, params={"max_steps": 3, "learning_rate": 0.02}
    )
    run = RunDir(trained)
    with run.recorded():
        sft.train(runfile.read(trained / "run.json"), run)
    folder = make_run("merge", start_adapter=trained / "model")
    run = RunDir(folder)
    with run.recorded():
        merge.train(runfile.read(folder / "run.json"), run)
    assert read_report(folder)["reload_check"]["ok"] and not models.is_adapter(folder / "model")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        merged = models.load_causal(folder / "model", CPU).eval()(ids).logits
        apart = models.load_policy(tiny_model_dir, trained / "model", CPU)(ids).logits
        bare = models.load_causal(tiny_model_dir, CPU).eval()(ids).logits
    assert torch.allclose(merged, apart, atol=1e-4) and not torch.allclose(merged, bare, atol=1e-3)
    assert json.loads((folder / "model/hone.json").read_text())["merged"]["path"].endswith("sft/model")


@pytest.mark.parametrize(
    ("kind", "saved", "message"),
    [
        ("merge", {"peft_type": "PROMPT_TUNING"}, "start_adapter is prompt, which adds positions and cannot be folded"),
        ("merge", {"peft_type": "HONE_BOTTLENECK"}, "which adds layers and cannot be folded into weights"),
        ("generate", {"task_type": "SEQ_CLS"}, "start_adapter.path holds a reward model's adapter"),
        ("generate", {"base_model_name_or_path": "other"}, "was trained on other weights than those in"),
        ("generate", {"base_model_name_or_path": "gone"}, "was trained on other weights than those in"),
        ("generate", None, "start_adapter.path has no readable adapter_config.json"),
    ],
)
def test_an_adapter_that_cannot_be_used_so_is_refused(make_run, tmp_path, monkeypatch, kind, saved, message):
    monkeypatch.chdir(tmp_path)
    for name in ("adapter", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    (tmp_path / "adapter/hone.json").write_text('{"base_model": {"sha256": "that of others"}}')
    if saved is not None:
        (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(saved))
    folder = make_run(kind, start_adapter=tmp_path / "adapter", prompts=None if kind == "merge" else "run.json")
    with pytest.raises(RunFileError, match=message):
        inputs.check_inputs(runfile.read(folder / "run.json"), folder)
