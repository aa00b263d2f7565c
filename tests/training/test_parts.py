"""A batch computed in parts, to bound what is held, learns the same as one computed at once."""

import pytest

from tests.training.conftest import LORA
from tests.training.test_sft import run_here
from training import data, forward, rundir


def test_parts_hold_few_tokens_and_every_row_in_order() -> None:
    lengths = [5, 3, 9, 2, 2, 2, 20, 1]
    assert data.parts(range(8), lengths, 9) == [[0, 1], [2], [3, 4, 5], [6], [7]]
    assert data.parts([7, 0], lengths, 100) == [[7, 0]]


@pytest.mark.parametrize("kind", ["sft", "reward", "dpo", "kto"])
def test_a_batch_in_parts_has_the_loss_and_gradient_of_the_whole(
    kind, make_run, demonstration_snapshot, tiny_snapshot, binary_snapshot, monkeypatch
) -> None:
    snapshots = {"sft": demonstration_snapshot, "kto": binary_snapshot}
    keys = {"snapshot": snapshots.get(kind, tiny_snapshot), "adapter": LORA}
    keys |= {"params": {"batch_size": 8, "max_steps": 3, "learning_rate": 1e-3}}
    if kind in ("dpo", "kto"):
        keys["reference"] = "base"
        keys["params"] |= {"sample_prompts": 0}
    whole, apart = make_run(kind, "whole", **keys), make_run(kind, "apart", **keys)
    assert run_here(whole) == 0
    seen = []
    genuine = data.parts
    monkeypatch.setattr(forward, "tokens_at_once", lambda _: 60)
    monkeypatch.setattr(data, "parts", lambda *args: (seen.append(genuine(*args)), seen[-1])[1])
    assert run_here(apart) == 0
    assert all(len(parts) > 1 for parts in seen)
    for ours, theirs in zip(rundir.read_metrics(apart), rundir.read_metrics(whole), strict=True):
        for name in ("loss", "grad_norm", "accuracy", "margin"):
            if name in theirs:
                assert ours[name] == pytest.approx(theirs[name], abs=1e-6, rel=1e-5)
