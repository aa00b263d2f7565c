import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from training import fused


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(24, 40), nn.Linear(40, 24, bias=False)

    def forward(self, x):
        return self.down(torch.tanh(self.up(x)))


def adapted(*, dropout: float = 0.0, kind: str = "lora"):
    """The same model twice: PEFT's own way, and ours."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=6, lora_dropout=dropout, target_modules=["up", "down"], use_dora=kind == "dora")
    plain = get_peft_model(Two(), config)
    for name, weight in plain.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    merged = copy.deepcopy(plain)
    fused.merge_lora(merged)
    return plain, merged


def learnt(model, x):
    x = x.clone().requires_grad_()
    loss = (model(x) ** 2).mean()
    loss.backward()
    return [loss.detach(), x.grad, *(w.grad for w in model.parameters() if w.requires_grad)]


@pytest.mark.parametrize("shape", [(64, 24), (4, 16, 24)])
def test_loss_and_gradients_are_those_of_peft(shape):
    plain, merged = adapted()
    x = torch.randn(shape)
    for ours, theirs in zip(learnt(merged, x), learnt(plain, x), strict=True):
        assert (ours - theirs).abs().max() < 1e-6


def test_the_merged_way_is_the_one_taken(monkeypatch):
    _, merged = adapted()
    calls = []
    genuine = fused.MergedLora.apply
    monkeypatch.setattr(fused.MergedLora, "apply", lambda *args: (calls.append(1), genuine(*args))[1])
    merged(torch.randn(64, 24))
    assert len(calls) == 2
    merged(torch.randn(2, 24))  # fewer tokens than a sum of weights is worth
    with merged.disable_adapter():
        merged(torch.randn(64, 24))
    assert len(calls) == 2


@pytest.mark.parametrize("kind", ["dora", "dropout"])
def test_what_is_no_plain_sum_is_left_to_peft(kind, monkeypatch):
    plain, merged = adapted(kind=kind, dropout=0.5 if kind == "dropout" else 0.0)
    monkeypatch.setattr(fused.MergedLora, "apply", None)
    x = torch.randn(64, 24)
    found = []
    for model in (plain, merged):
        torch.manual_seed(1)
        found.append(learnt(model.train(), x))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))
