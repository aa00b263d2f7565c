import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from training import forward, losses
from training.runfile import RunFileError

PAIRS = [
    ([5, 6, 7], [8, 9, 2], [10, 11, 12, 13, 2]),
    ([5, 14, 15, 16, 17, 18], [19, 2], [20, 2]),
    ([21], [22, 23, 24, 2], [2]),
]
CPU = torch.device("cpu")


@pytest.fixture
def llama():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,  # large enough for attention to matter
    )
    return LlamaForCausalLM(config).eval()


def plain_logps(model, prompt, answer):
    """One row at a time through the whole model, every logit computed: as slow and as plain as can be."""
    ids = torch.tensor([prompt + answer])
    log_p = F.log_softmax(model(ids).logits[0].float(), dim=-1)
    return torch.stack([log_p[len(prompt) + i - 1, token] for i, token in enumerate(answer)])


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_a_tree_row_equals_two_plain_rows_in_loss_and_gradient(llama):
    ref = torch.zeros(6)
    plain = torch.stack(
        [plain_logps(llama, p, a).sum() for p, a in [(p, c) for p, c, _ in PAIRS] + [(p, r) for p, _, r in PAIRS]]
    )
    plain_loss = losses.dpo_loss(plain, ref, beta=0.1).mean()
    plain_loss.backward()
    expected = gradients(llama)
    llama.zero_grad()

    logps = forward.answer_logps(llama, forward.pack_pairs(PAIRS, 0, CPU))
    loss = losses.dpo_loss(logps, ref, beta=0.1).mean()
    loss.backward()
    assert (logps - plain).abs().max() < 1e-5  # sums of up to five terms near -8
    assert (loss - plain_loss).abs() < 1e-6
    assert (gradients(llama) - expected).abs().max() < 1e-6


def test_the_rejected_answer_does_not_see_the_chosen_one(llama):
    prompt, chosen, rejected = PAIRS[0]
    other = (prompt, [30, 31, 32], rejected)
    before = forward.answer_logps(llama, forward.pack_pairs([(prompt, chosen, rejected)], 0, CPU))
    after = forward.answer_logps(llama, forward.pack_pairs([other], 0, CPU))
    assert before[1] == after[1]
    assert before[0] != after[0]


def test_texts_of_like_length_attend_in_one_call_and_others_apart(llama, monkeypatch):
    long = (list(range(3, 23)), [24, 2], [25, 26, 27, 2])
    batch = forward.pack_pairs([*PAIRS[:2], long], 0, CPU)
    assert forward.reads_trees(llama)
    seen = []
    genuine = F.scaled_dot_product_attention

    def watched(query, *args, is_causal, **keys):
        seen.append((query.shape[0], query.shape[2], is_causal))
        return genuine(query, *args, is_causal=is_causal, **keys)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    forward.answer_logps(llama, batch)
    assert seen == [(2, 24, True), (4, 8, True)] * 2  # texts of 24 and 22 tokens, then of 8, 8, 8 and 6, in two layers
    assert llama.config._attn_implementation == "sdpa"


def test_a_prompt_may_have_any_number_of_answers(llama):
    answers = [[8, 9, 2], [10, 2], [11, 12, 13, 2]]
    batch = forward.pack_trees([([5, 6, 7], answers), ([6], [[7, 2]])], 0, CPU)
    expected = [plain_logps(llama, [5, 6, 7], answer).sum() for answer in answers] + [
        plain_logps(llama, [6], [7, 2]).sum()
    ]
    assert torch.allclose(forward.answer_logps(llama, batch), torch.stack(expected), atol=1e-5)


def test_padded_rows_give_the_same_where_a_model_cannot_read_trees(llama):
    batch = forward.pack_pairs(PAIRS, 0, CPU)
    expected = forward.answer_logps(llama, batch)
    llama.hone_reads_trees = False
    assert torch.allclose(forward.answer_logps(llama, batch), expected, atol=1e-5)


def test_a_memory_of_the_layout_does_not_outlive_the_pass(llama):
    forward.answer_logps(llama, forward.pack_pairs(PAIRS, 0, CPU))
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(llama(ids).logits, llama(ids, attention_mask=torch.ones_like(ids)).logits)


def test_what_else_is_in_the_batch_changes_nothing(llama):
    alone = forward.answer_logps(llama, forward.pack_pairs(PAIRS[2:], 0, CPU))
    among = forward.answer_logps(llama, forward.pack_pairs(PAIRS, 0, CPU))
    assert torch.allclose(among[[2, 5]], alone, atol=1e-5)


def test_plain_rows_hold_the_same_tokens_in_the_same_order(llama):
    tree, apart = forward.pack_pairs(PAIRS, 0, CPU), forward.pack_apart(PAIRS, 0, CPU)
    assert tree.targets.tolist() == apart.targets.tolist()
    assert torch.allclose(forward.answer_logps(llama, tree), forward.answer_logps(llama, apart), atol=1e-5)


def test_tokens_come_back_by_answer(llama):
    batch = forward.pack_answers([(p, c) for p, c, _ in PAIRS], 0, CPU)
    grid = batch.per_answer(forward.token_logps(llama, batch)[0])
    assert grid.shape == (3, 4)
    assert torch.allclose(grid[1, :2], plain_logps(llama, *PAIRS[1][:2]), atol=1e-5)
    assert grid[1, 2:].tolist() == [0, 0]
    assert batch.ids[batch.ends].tolist() == [2, 2, 2]


def test_temperature_divides_the_logits(llama):
    batch = forward.pack_answers([PAIRS[0][:2]], 0, CPU)
    logps, entropy = forward.token_logps(llama, batch, temperature=0.5)
    logits = llama(batch.ids[None]).logits[0, 2:5] / 0.5
    assert torch.allclose(logps, F.log_softmax(logits, -1).gather(-1, batch.targets[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(entropy, losses.entropy(logits), atol=1e-5)
    assert not entropy.requires_grad


def test_working_in_blocks_changes_neither_values_nor_gradients(llama):
    batch = forward.pack_pairs(PAIRS, 0, CPU)
    whole = forward.token_logps(llama, batch)[0]
    whole.sum().backward()
    expected = gradients(llama)
    llama.zero_grad()
    blocks = forward.token_logps(llama, batch, block=4)[0]
    blocks.sum().backward()
    assert torch.allclose(blocks, whole, atol=1e-6)
    assert torch.allclose(gradients(llama), expected, atol=1e-4, rtol=1e-5)


def test_a_model_with_learned_positions_takes_trees_too():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=64, n_embd=32, n_layer=2, n_head=2)).eval()
    assert forward.reads_trees(model)


def test_a_model_with_a_sliding_window_does_not(llama):
    llama.config.sliding_window = 4
    assert not forward.reads_trees(llama)


def test_a_head_that_does_more_than_expected_is_refused(llama):
    forward.check_head(llama, [5, 6, 7])
    llama.config.final_logit_softcapping = 0.5  # which Llama itself does not apply
    with pytest.raises(RunFileError, match="LlamaForCausalLM"):
        forward.check_head(llama, [5, 6, 7])
