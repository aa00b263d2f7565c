"""Traps of training libraries that cost others their runs and that no other test here is named for."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import torch

from tests.training.conftest import ROOT
from training import adapters, compatibility, data, ensembles, models, reward
from training.reward_rows import Pair
from training.runfile import Adapter, Hardware

CPU = Hardware(device="cpu", threads=1)
PAIRS = [Pair(([5, 6, 7], [8, 9, 2], [11, 12, 13, 2]), 0.0, 1.0, (1, 1), False, "1")]


def test_nothing_is_reported_to_anybody_and_the_network_is_not_asked():
    said = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")
    script = f"import os, sys, training.__main__; print([os.environ[k] for k in {said}], 'torch' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key not in said}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['1', '1'] False"


def test_libraries_that_break_others_are_not_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    names = {re.split(r"[^A-Za-z0-9_-]", each)[0].lower() for each in asked}
    # adapters forces transformers 4; liger-kernel poisons a process without a GPU.
    assert "transformers" in names and not names & {"adapters", "liger-kernel", "liger_kernel"}


def test_nothing_is_computed_twice_to_spare_memory_that_nobody_lacks(tiny_model_dir):
    for model in (
        adapters.attach(models.load_causal(tiny_model_dir, CPU), Adapter(), task="causal").train(),
        models.load_causal(tiny_model_dir, CPU, training=True).train(),
    ):
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_switching_adapters_before_the_backward_pass_costs_no_gradient(method, tiny_model_dir):
    torch.manual_seed(3)
    shape = {"r": 4} if method in compatibility.LAYERS else {}
    model = models.load_classifier(tiny_model_dir, CPU, 0)
    model = ensembles.attach(model, Adapter(method=method, **shape), 2)
    core = models.core(model)
    with torch.no_grad():
        for weight in models.trainable(model):
            weight.add_(torch.randn(weight.shape) * 0.1)
    both = reward.outputs_of(core, PAIRS, 0)
    assert both.shape == (2, 2) and not torch.allclose(both[:, 0], both[:, 1])
    both.square().sum().backward()
    together = {key: weight.grad.clone() for key, weight in models.learning(model).items()}
    assert len(together) == len(models.trainable(model)) and all(grad.abs().max() > 0 for grad in together.values())
    for number, name in enumerate(ensembles.names(2)):
        model.zero_grad()
        model.set_adapter(name)  # as PEFT's users do, with the backward pass before the next switch
        ids, mask = data.pad([prompt + answer for prompt, answers in [PAIRS[0].tree] for answer in answers], 0)
        alone = model(input_ids=ids, attention_mask=mask).logits
        assert torch.allclose(alone[:, 0], both[:, number], atol=1e-5)
        alone.square().sum().backward()
        own = {key: grad for key, grad in together.items() if f".{name}." in f"{key}."}
        assert own
        for key, grad in own.items():
            assert torch.allclose(dict(model.named_parameters())[key].grad, grad, atol=1e-4), key
