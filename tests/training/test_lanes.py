import os
import signal

import pytest
import torch

from training import corpus, lanes, pretrain
from training.lanes import Lanes
from training.params import Pretrain
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
