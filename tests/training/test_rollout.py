import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from training import forward, rollout

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14]]
STOP, PAD = [2], 0
CPU = torch.device("cpu")


@pytest.fixture
def llama():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=24,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def sample(model, prompts=PROMPTS, seed=0, **settings):
    settings = {"max_new_tokens": 20, "generator": torch.Generator().manual_seed(seed)} | settings
    return rollout.sample(model, prompts, stop=STOP, pad_id=PAD, **settings)


def greedy(model, prompt, limit):
    ids = list(prompt)
    while len(ids) < len(prompt) + limit:
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == 2:
            break
    return ids[len(prompt) :]


def test_greedy_answers_equal_a_plain_loop_without_cache_or_padding(llama):
    prompts = [[i, i + 1, 7][: 1 + i % 3] for i in range(3, 15)]
    got = sample(llama, prompts, temperature=0, max_new_tokens=12)
    for row, prompt in enumerate(prompts):
        assert got.tokens[row, : got.lengths[row]].tolist() == greedy(llama, prompt, 12)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_equal_those_of_the_training_pass(llama, temperature):
    got = sample(llama, samples=8, temperature=temperature)
    answers = [got.tokens[i, : got.lengths[i]].tolist() for i in range(24)]
    batch = forward.pack_answers(list(zip(got.prompts, answers, strict=True)), PAD, CPU)
    again = batch.per_answer(forward.token_logps(llama, batch, temperature=temperature)[0])
    assert (got.ended & (got.lengths < 20)).sum() > 3  # rows left the batch at different times
    assert torch.equal(batch.lengths, got.lengths)
    assert (again - got.logps).abs().max() < 1e-4
    assert (again - got.logps).exp().sub(1).abs().max() < 1e-4


def test_an_answer_stops_at_eos_and_nothing_follows(llama):
    got = sample(llama, samples=8)
    for row in range(24):
        tokens = got.tokens[row, : got.lengths[row]].tolist()
        assert 2 not in tokens[:-1]
        assert (tokens[-1] == 2) == bool(got.ended[row])
        assert got.finish(row) == ("eos" if tokens[-1] == 2 else "length")
        assert got.answer(row) == (tokens[:-1] if tokens[-1] == 2 else tokens)
        assert got.logps[row, got.lengths[row] :].abs().sum() == 0
    assert got.mask.sum() == got.lengths.sum()
    assert got.tokens.shape[1] == got.lengths.max()


def test_the_same_seed_gives_the_same_answers(llama):
    assert torch.equal(sample(llama).tokens, sample(llama).tokens)
    assert not torch.equal(sample(llama, seed=1).tokens, sample(llama).tokens)


def test_samples_of_one_prompt_stand_side_by_side_and_differ(llama):
    got = sample(llama, samples=4)
    assert got.prompts == [p for p in PROMPTS for _ in range(4)]
    assert len({tuple(got.tokens[i].tolist()) for i in range(4)}) > 1


def test_positions_are_counted_from_the_mask():
    mask = torch.tensor([[0, 0, 1], [1, 1, 1]])
    assert rollout.positions(mask).tolist() == [[0, 0, 0], [0, 1, 2]]


def test_draws_follow_the_distribution_at_the_temperature():
    logits = torch.tensor([[2.0, 1.0, 0.0, -1e9]]).repeat(20_000, 1)
    generator = torch.Generator().manual_seed(0)
    token, logp = rollout.draw(logits, temperature=2.0, top_p=1.0, generator=generator)
    expected = (logits[0] / 2).softmax(-1)
    assert torch.bincount(token, minlength=4) / 20_000 == pytest.approx(expected, abs=0.015)
    assert logp == pytest.approx(expected.log()[token], abs=1e-5)


def test_top_p_keeps_the_smallest_set_that_holds_the_mass():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert rollout.keep_top_p(logits, 0.7).isfinite().tolist() == [[True, True, False, False]]
    assert rollout.keep_top_p(logits, 0.5).isfinite().tolist() == [[True, False, False, False]]
    assert rollout.keep_top_p(logits, 0.01).isfinite().tolist() == [[True, False, False, False]]


def test_the_reserved_cache_gives_what_the_plain_one_gives(llama, monkeypatch):
    monkeypatch.setattr(rollout, "steps_of", lambda *_: None)  # a last digit may decide which token is drawn
    monkeypatch.setattr(rollout.ReservedLayer, "reserve", 3)
    ours = sample(llama, samples=4)
    monkeypatch.setattr(rollout, "make_cache", lambda model: rollout.DynamicCache(config=model.config))
    assert torch.equal(ours.tokens, sample(llama, samples=4).tokens)


def test_every_published_end_token_stops(llama):
    class Tokenizer:
        eos_token_id = 2

    llama.generation_config.eos_token_id = [9, 2]
    assert rollout.stop_ids(llama, Tokenizer()) == [2, 9]
    llama.generation_config.eos_token_id = None
    assert rollout.stop_ids(llama, Tokenizer()) == [2]
