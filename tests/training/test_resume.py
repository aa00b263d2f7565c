"""Killed between two checkpoints, then stopped between two, every method goes on to the very bytes of a run that was
left alone."""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import LORA, question, user, write_snapshot
from tests.training.engine import run_engine
from tests.training.test_policies import write_reward
from tests.training.test_reward_kinds import ranked, rated
from tests.training.test_sft import run_here
from training import experience, ppo, reward
from training.rundir import RunDir, read_metrics, read_report, read_samples, read_status

ROWS = {"batch_size": 8, "epochs": 2, "max_steps": 4, "learning_rate": 5e-3, "checkpoint_every": 2}
ANSWERS = {"max_new_tokens": 4, "eval_prompts": 2, "sample_every": 0, "checkpoint_every": 2, "learning_rate": 5e-3}
GROUPS = ANSWERS | {"steps": 4, "prompts_per_step": 2, "samples": 2, "minibatch": 4, "rule": "words:1-2"}
PPO = ANSWERS | {"steps": 4, "rollout_batch": 4, "minibatch": 4, "value_warmup_steps": 1, "kl_target": 1.0}
KILL_AT_3 = """
import os, signal
from training import experience
from training.rundir import RunDir
experience.NORM_ANSWERS = 8
logged = RunDir.log
def log(self, step, **metrics):
    logged(self, step, **metrics)
    if step == 3 and ("lr" in metrics or "mean_reward" in metrics):
        os.kill(os.getpid(), signal.SIGKILL)
RunDir.log = log
"""
EPOCHS = ROWS | {"batch_size": 24}  # two steps each: broken off in the second, the run knows where it is in it
TWO_LANES = "from training import ppo, reward; ppo.count_for = reward.count_for = lambda *_: 2"
DROPOUT = LORA | {"dropout": 0.2}
# name: kind, adapter, settings, snapshot
METHODS = {
    "sft": ("sft", DROPOUT, EPOCHS, "demonstrations"),
    "sft, all weights": ("sft", None, EPOCHS, "demonstrations"),
    "dpo": ("dpo", DROPOUT, ROWS | {"sample_prompts": 1, "max_new_tokens": 3}, "pairs"),
    "kto": ("kto", DROPOUT, ROWS | {"sample_prompts": 1, "max_new_tokens": 3}, "judged"),
    "reward, two lanes": ("reward", None, ROWS, "pairs"),
    "reward, rankings": ("reward", DROPOUT, ROWS | {"ranking_loss": "plackett_luce"}, "rankings"),
    "reward, ratings": ("reward", DROPOUT, ROWS | {"members": 2}, "ratings"),
    "reward, adapters": ("reward", LORA, ROWS | {"members": 2, "ensemble": "adapters"}, "pairs"),
    "grpo": ("grpo", LORA, GROUPS, None),
    "grpo, ia3": ("grpo", {"method": "ia3"}, GROUPS, None),
    "rloo": ("rloo", LORA, GROUPS, None),
    "rloo, all weights": ("rloo", None, GROUPS, None),
    "ppo, two lanes": ("ppo", LORA, PPO, None),
    "ppo, all weights": ("ppo", None, PPO, None),
    "best_of_n": ("best_of_n", None, {"samples": 2, "batch_size": 4, "max_new_tokens": 4}, None),
}


@pytest.fixture
def make(make_run, tmp_path, tiny_model_dir, demonstration_snapshot, tiny_snapshot, binary_snapshot, monkeypatch):
    monkeypatch.setattr(experience, "NORM_ANSWERS", 8)
    snapshots = {"demonstrations": demonstration_snapshot, "pairs": tiny_snapshot, "judged": binary_snapshot}

    def write(method: str, name: str) -> Path:
        kind, adapter, params, data = METHODS[method]
        keys = {"params": params, "adapter": adapter}
        if data in ("rankings", "ratings"):
            rows = ranked if data == "rankings" else rated
            snapshots[data] = write_snapshot(tmp_path / data, data, rows(24), rows(4, first=50))
        if data:
            keys["snapshot"] = snapshots[data]
        if kind in ("dpo", "kto", "ppo", "grpo", "rloo"):
            keys["reference"] = "base"
        if kind in ("ppo", "best_of_n"):
            keys["reward_model"] = tmp_path / "reward"
            if not keys["reward_model"].exists():
                write_reward(keys["reward_model"], tiny_model_dir)
        if data is None:
            keys["prompts"] = "prompts.jsonl"
        folder = make_run(kind, name, **{key: value for key, value in keys.items() if value is not None})
        lines = [json.dumps({"id": str(n), "prompt": [user(question(n))]}) for n in range(8)]
        (folder / "prompts.jsonl").write_text("\n".join(lines))
        return folder

    return write


def weights(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((folder / "model").glob("*.safetensors")))


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = RunDir.log

    def log(self: RunDir, at: int, **metrics: float) -> None:
        logged(self, at, **metrics)
        if at == step and "lr" in metrics:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunDir, "log", log)


@pytest.mark.parametrize("method", METHODS)
def test_killed_between_checkpoints_a_run_ends_as_if_nothing_had_happened(make, method, monkeypatch):
    prelude = KILL_AT_3
    if method.endswith("two lanes"):
        for each in (ppo, reward):
            monkeypatch.setattr(each, "count_for", lambda *_: 2)
        prelude += TWO_LANES
    whole, broken = make(method, "whole"), make(method, "broken")
    assert run_here(whole) == 0, (whole / "log.txt").read_text()
    code, output = run_engine(broken, prelude=prelude)
    assert code == -signal.SIGKILL, output
    assert read_status(broken)["checkpoint"] == (None if method == "best_of_n" else 2)
    assert not (broken / "model").exists() and read_report(broken) is None
    if method != "best_of_n":
        with monkeypatch.context() as patch:
            stop_at(3, patch)
            assert run_here(broken) == 143
        status = read_status(broken)
        assert (status["state"], status["checkpoint"], status["attempt"]) == ("cancelled", 3, 2)
    assert run_here(broken) == 0
    assert weights(broken) == weights(whole)
    assert all(read_report(broken).get(key) == read_report(whole).get(key) for key in ("eval", "tokens", "train"))
    assert read_samples(broken) == read_samples(whole)
    clocks = ("time", "tokens_per_s", "samples_per_s")
    rows = [
        [{key: row[key] for key in row if key not in clocks} for row in read_metrics(each)] for each in (whole, broken)
    ]
    assert rows[0] == rows[1] and [row["step"] for row in rows[0]] == [1, 2, 3, 4]
    if method == "best_of_n":
        written = [
            [json.loads(line) | {"model": ""} for line in (folder / "generations.jsonl").read_text().splitlines()]
            for folder in (broken, whole)
        ]
        assert written[0] == written[1] and len(written[0]) == 8
    else:
        last = "checkpoints/step-00000004/tensors.safetensors"
        one, two = load_file(whole / last), load_file(broken / last)
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
        assert method != "ppo" or any(key.startswith("value.") for key in one)
