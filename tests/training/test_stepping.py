import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from tests.training.test_layers import SHAPE, adapted
from training import data, rollout, stepping

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14]]


def begun(model):
    """The cache that these prompts have filled, and their mask."""
    ids, mask = data.pad(PROMPTS, 0, left=True)
    cache = rollout.make_cache(model)
    rollout._next_logits(model, ids, mask, rollout.positions(mask), cache)
    return cache, mask


@torch.no_grad()
@pytest.mark.parametrize("kind, config", [(LlamaForCausalLM, LlamaConfig), (Qwen2ForCausalLM, Qwen2Config)])
def test_token_by_token_the_logits_are_those_of_transformers(kind, config):
    model = adapted(kind, config(**SHAPE))[1].get_base_model().eval()  # an adapter speaks; the second has biases
    ours, theirs = begun(model), begun(model)
    steps, plain = rollout.steps_onward(model, *ours, 3), rollout.PlainSteps(model, *theirs)
    assert isinstance(steps, stepping.Steps)
    tokens = torch.tensor([7, 3, 9])
    assert torch.allclose(steps.logits(tokens), plain.logits(tokens), atol=1e-5)
    kept = torch.tensor([2, 0])
    for each, (cache, _) in ((steps, ours), (plain, theirs)):
        rollout.keep_rows(cache, kept)
        each.keep(kept)
    for tokens in (torch.tensor([4, 30]), torch.tensor([1, 2])):
        assert torch.allclose(steps.logits(tokens), plain.logits(tokens), atol=1e-5)


def test_a_model_that_is_more_than_that_is_left_to_transformers(monkeypatch):
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    cache, mask = begun(model)
    assert stepping.steps_of(model, cache, mask, 2)  # also where all weights learn
    with monkeypatch.context() as patch:
        patch.setattr(stepping, "SMALL", 10)
        assert stepping.steps_of(model, cache, mask, 2) is None
    with monkeypatch.context() as patch:
        patch.setattr(model.base_model.rotary_emb, "rope_type", "dynamic")
        assert stepping.steps_of(model, cache, mask, 2) is None
    hook = model.base_model.layers[0].mlp.register_forward_hook(lambda *_: None)
    assert isinstance(rollout.steps_onward(model, cache, mask, 2), rollout.PlainSteps)
    hook.remove()
    monkeypatch.setattr(model.base_model, "forward", lambda *_: None)  # as trained positions do
    assert stepping.steps_of(model, cache, mask, 2) is None
