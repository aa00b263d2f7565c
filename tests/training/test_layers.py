import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from training import adapters, forward, fused, layers

PAIRS = [
    ([5, 6, 7], [8, 9, 2], [10, 11, 12, 13, 2]),
    ([5, 14, 15, 16, 17, 18], [19, 2], [20, 2]),
    ([21], [22, 23, 24, 2], [2]),
]
CPU = torch.device("cpu")
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,  # large enough for attention to matter
}


def adapted(kind, config, **lora):
    """(a model as transformers and PEFT compute it, row by row; the same as the engine does)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with adapters.quiet_peft():
        plain = get_peft_model(kind(config), LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", **lora))
    for name, weight in plain.named_parameters():
        if "lora_B" in name or name.endswith("bias"):
            nn.init.normal_(weight, std=0.1)
    ours = copy.deepcopy(plain)
    fused.merge_lora(ours)
    plain.get_base_model().hone_reads_trees = False
    return plain, ours


def learnt(model, asked):
    """Loss and gradients of what is asked of a batch of pairs: its answer tokens, or the ends of its answers."""
    batch = forward.pack_pairs(PAIRS, 0, CPU)
    hidden = forward.hidden_states(model.get_base_model(), batch, getattr(batch, asked))
    loss = torch.tanh(hidden.float()).pow(2).mean()
    loss.backward()
    return [loss.detach(), *(w.grad for w in model.parameters() if w.requires_grad)]


@pytest.mark.parametrize("asked", ["sources", "ends"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_loss_and_gradients_are_those_of_the_plain_computation(family, asked, monkeypatch):
    kinds = {
        "llama": (LlamaForCausalLM, LlamaConfig),
        "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    }  # the second has biases
    kind, config = kinds[family]
    plain, ours = adapted(kind, config(**SHAPE))
    expected, calls, genuine = learnt(plain, asked), [], layers.GatedProduct.apply
    monkeypatch.setattr(layers.GatedProduct, "apply", lambda x, *rest: (calls.append(len(x)), genuine(x, *rest))[1])
    assert forward.reads_trees(ours.get_base_model())
    calls.clear()
    found = learnt(ours, asked)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).abs().max() < 1e-6
    batch = forward.pack_pairs(PAIRS, 0, CPU)
    assert calls == [len(batch.ids), len(getattr(batch, asked).unique())]  # the last layer did no more than it had to


def test_a_layer_keeps_what_it_read_and_nothing_that_can_be_found_again():
    _, ours = adapted(LlamaForCausalLM, LlamaConfig(**SHAPE | {"num_key_value_heads": 4}))
    model = ours.get_base_model()
    assert forward.reads_trees(model)
    batch = forward.pack_answers([(list(range(3, 20)), [4] * 15)], 0, CPU)  # one text: places are tokens
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def of(count):
        """Numbers kept a token by a model of so many layers."""
        kept.clear()
        model.config.num_hidden_layers = count
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            hidden = forward.hidden_states(model, batch)
        return hidden, sum(kept.values()) / 4 / len(batch.ids)

    (_, one), (_, two) = of(1), of(2)
    width, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    # Its input; queries, keys and values; what attention found, with a size a head; the sum; gate and up; x A'.
    assert two - one <= width + 3 * width + 2 * width + 4 + width + 2 * inner + 5 * 3 + 4
    assert forward.KEPT_AT_LEAST * width >= two - one - 5 * 3 and layers.frugal(model)


@pytest.mark.parametrize("lora", [{"use_dora": True}, {"lora_dropout": 0.5}])
def test_what_is_no_plain_sum_is_left_to_the_layer_itself(lora, monkeypatch):
    plain, ours = adapted(LlamaForCausalLM, LlamaConfig(**SHAPE), **lora)
    forward.reads_trees(ours.get_base_model())
    monkeypatch.setattr(layers.GatedProduct, "apply", None)
    plain.get_base_model().hone_reads_trees = True  # and not fused
    found = []
    for model in (plain, ours):
        torch.manual_seed(1)
        found.append(learnt(model.train(), "sources"))
    assert all(torch.allclose(mine, theirs, atol=1e-6) for mine, theirs in zip(*found, strict=True))


@pytest.mark.parametrize("why", ["weights that learn", "a hook behind a part", "bfloat16"])
def test_a_layer_of_another_kind_is_left_to_itself(why, monkeypatch):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE)).requires_grad_(why == "weights that learn")
    batch = forward.pack_pairs(PAIRS, 0, CPU)
    usual = forward.hidden_states(model, batch, batch.ends)
    monkeypatch.setattr(layers.GatedProduct, "apply", None)
    if why == "a hook behind a part":
        for layer in model.model.layers:
            layer.mlp.register_forward_hook(lambda module, args, output: output + 1)
    if why == "bfloat16":
        model.bfloat16().hone_reads_trees = None
    found = forward.hidden_states(model, batch, batch.ends)
    assert forward.reads_trees(model) and not layers.frugal(model)
    if why == "weights that learn":
        found.sum().backward()
        assert all(weight.grad is not None for weight in model.model.layers.parameters())
    near = torch.allclose(found.float(), usual, atol=0.1 * usual.abs().max().item())
    assert near == (why != "a hook behind a part")
