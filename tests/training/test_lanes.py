import os
import signal

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.training.conftest import LORA
from training import corpus, lanes, models, pretrain, reward, reward_rows, runfile
from training.lanes import Lanes
from training.params import Pretrain
from training.reward_objectives import OBJECTIVES
from training.rundir import RunError

SHAPE = Pretrain(vocab_size=300, hidden_size=32, layers=2, heads=2, context=32, batch_size=4)


@pytest.fixture
def weight():
    return torch.nn.Parameter(torch.ones(3))


@pytest.fixture
def learn(weight):
    """A job is a vector: its product with the weights is the loss, and the vector the gradient."""

    def work(job):
        if isinstance(job, str):
            raise MemoryError(job)
        (weight * torch.tensor(job)).sum().backward()
        return os.getpid()

    return work


def test_gradients_of_all_lanes_are_added_and_every_lane_sees_each_step(weight, learn):
    with Lanes([weight], learn, 2) as pair:
        ours, theirs = pair.work([[1.0, 2.0, 3.0], [10.0, 0.0, 0.5]])
        assert ours == os.getpid() != theirs
        assert weight.grad.tolist() == [11.0, 2.0, 3.5]
        with torch.no_grad():
            weight -= 1.0
        weight.grad = None
        pair.work([[1.0, 0.0, 0.0]])  # a batch too small for two
        assert weight.grad.tolist() == [1.0, 0.0, 0.0]
        pair.work([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        assert weight.grad.tolist() == [3.0, 0.0, 0.0]
        assert pair.split("abcde", [1, 9, 5, 4, 1]) == [["b", "a"], ["c", "d", "e"]]
        assert pair.split("a", [1]) == [["a"]] and pair.split("abc") == [["a", "c"], ["b"]]
        with pytest.raises(ValueError, match="3 jobs for 2 lanes"):
            pair.work([[0.0] * 3] * 3)
    with pytest.raises(ProcessLookupError):
        os.kill(theirs, 0)


def test_what_goes_wrong_in_a_lane_is_told(weight, learn):
    with Lanes([weight], learn, 2) as pair:
        with pytest.raises(MemoryError, match="no room"):
            pair.work([[0.0] * 3, "no room"])
        theirs = pair.work([[0.0] * 3] * 2)[1]
        os.kill(theirs, signal.SIGTERM)  # asks the run to stop, not its lanes
        assert pair.work([[0.0] * 3] * 2)[1] == theirs
        os.kill(theirs, signal.SIGKILL)
        with pytest.raises(RunError, match="has ended"):
            pair.work([[0.0] * 3] * 2)


def test_one_lane_is_this_process_and_shares_nothing(weight, learn):
    at = weight.data_ptr()
    with Lanes([weight], learn, lanes.count_for(torch.nn.Linear(2, 2))) as alone:  # the tests have one thread
        assert alone.work([[1.0, 2.0, 3.0]]) == [os.getpid()] and weight.data_ptr() == at


def test_two_lanes_learn_what_one_learns():
    torch.manual_seed(0)
    tokenizer = corpus.train_tokenizer([{"text": "Where is parcel 7? On its way."}] * 2, 300, 32)
    model = pretrain.new_model(SHAPE, tokenizer)
    batch = corpus.pack([[(7 * a + b) % 250 + 6 for a in range(3 + b % 5)] for b in range(16)], 32, pad_id=0)
    with Lanes(list(model.parameters()), pretrain.part_learner(model), 2) as pair:
        loss = pretrain.learn(pair, batch)
        gradients = [weight.grad.clone() for weight in model.parameters()]
        model.zero_grad()
        assert pretrain.learn(pair, batch) == loss
        assert all(torch.equal(a, b.grad) for a, b in zip(gradients, model.parameters(), strict=True))
    model.zero_grad()
    with Lanes(list(model.parameters()), pretrain.part_learner(model), 1) as alone:
        assert pretrain.learn(alone, batch) == pytest.approx(loss, rel=1e-5)
    assert all(torch.allclose(a, b.grad, atol=1e-6) for a, b in zip(gradients, model.parameters(), strict=True))


def test_a_reward_model_learns_in_two_lanes_what_it_learns_in_one(make_run, tiny_snapshot):
    folder = make_run("reward", snapshot=tiny_snapshot, adapter=LORA, params={"members": 2, "label_smoothing": 0.1})
    config = runfile.read(folder / "run.json")
    tokenizer = models.load_tokenizer(config, folder)
    rows = reward_rows.encoded(config, tokenizer, "train", "preference", [])[1][:7]
    objective = OBJECTIVES["preference"](config, rows, [])
    model = reward.load_model(config, tokenizer.pad_token_id, objective.heads)
    weights, learn = models.trainable(model), reward.learner(models.core(model), objective, tokenizer.pad_token_id)
    found = []
    for count in (2, 1):
        with Lanes(weights, learn, count) as some:
            metrics = reward.backward(some, list(range(7)), [reward.length_of(row) for row in rows])
            found.append((metrics, [weight.grad.clone() for weight in weights]))
        model.zero_grad()
    (two, of_two), (one, of_one) = found
    assert two == pytest.approx(one, rel=1e-4) and two["loss"] > 0
    assert any(each.abs().max() > 0 for each in of_one)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(of_two, of_one, strict=True))


def test_a_model_that_draws_numbers_while_it_learns_has_one_lane(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    size = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    counts = [
        lanes.count_for(LlamaForCausalLM(LlamaConfig(**size, num_attention_heads=1, attention_dropout=share)))
        for share in (0.0, 0.1)
    ]
    assert counts == [2, 1]
    assert lanes.count_for(torch.nn.Linear(2, 2), "adalora") == 1
