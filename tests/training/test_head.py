import pytest
import torch
import torch.nn.functional as F

from tests.training.conftest import tiny_llama, tiny_tokenizer
from training import head, losses


@pytest.fixture
def llama(monkeypatch):
    torch.manual_seed(0)
    model = tiny_llama(tiny_tokenizer()).requires_grad_(False)
    torch.nn.init.normal_(model.lm_head.weight, std=0.5)
    monkeypatch.setattr(head, "WORDS_AT_ONCE", 100)  # several blocks of a vocabulary of 300
    return model


def plain(model, hidden, targets, temperature):
    logits = model.lm_head(hidden) / temperature
    return F.log_softmax(logits, -1).gather(-1, targets[:, None])[:, 0], losses.entropy(logits)


@pytest.mark.parametrize(("block", "temperature"), [(None, 1.0), (7, 0.7)])
def test_a_frozen_head_gives_the_plain_log_probabilities_and_gradients(llama, block, temperature):
    hidden, targets = torch.randn(20, 32, requires_grad=True), torch.randint(0, 300, (20,))
    weight = torch.rand(20)
    expected, entropies = plain(llama, hidden, targets, temperature)
    (expected * weight).mean().backward()
    wanted, hidden.grad = hidden.grad, None

    logps, entropy = head.logps_of(llama, hidden, targets, temperature=temperature, block=block)
    (logps * weight).mean().backward()
    assert torch.allclose(logps, expected, atol=2e-6, rtol=1e-6)
    assert torch.allclose(entropy, entropies, atol=1e-5)
    assert not entropy.requires_grad
    assert (hidden.grad - wanted).abs().max() < 1e-6
    assert torch.allclose(head.target_logps(llama, hidden, targets, temperature=temperature), expected, atol=2e-6)


def test_no_logits_are_kept_for_the_backward_pass(llama):
    hidden, targets = torch.randn(64, 32, requires_grad=True), torch.randint(0, 300, (64,))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.numel()), t)[1], lambda t: t):
        head.logps_of(llama, hidden, targets)
    assert max(kept) <= 64 * 32


def test_a_head_that_learns_gets_its_gradient(llama):
    llama.lm_head.weight.requires_grad_(True)
    hidden, targets = torch.randn(20, 32), torch.randint(0, 300, (20,))
    plain(llama, hidden, targets, 1.0)[0].sum().backward()
    expected, llama.lm_head.weight.grad = llama.lm_head.weight.grad, None
    head.logps_of(llama, hidden, targets, block=6)[0].sum().backward()
    assert torch.allclose(llama.lm_head.weight.grad, expected, atol=1e-5)


def test_what_families_put_behind_the_head_is_kept(llama):
    hidden, targets = torch.randn(5, 32), torch.randint(0, 300, (5,))
    llama.config.logits_scaling = 4.0  # Granite
    scaled = plain(llama, hidden, targets, 4.0)[0]
    assert torch.allclose(head.logps_of(llama, hidden, targets)[0], scaled, atol=1e-5)
    llama.config.final_logit_softcapping = 2.0  # Gemma
    assert head.plain_weight(llama) is None
    capped = torch.tanh(llama.lm_head(hidden) / 4 / 2) * 2
    expected = capped.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    assert torch.allclose(head.logps_of(llama, hidden, targets)[0], expected, atol=1e-5)
