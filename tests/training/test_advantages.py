import pytest
import torch

from training import advantages


def test_the_score_sits_only_on_the_last_real_token():
    kl = torch.tensor([[0.5, 1.0, 9.0], [0.0, 0.0, 2.0]])
    got = advantages.token_rewards(kl, torch.tensor([3.0, -1.0]), torch.tensor([2, 3]), beta=0.1)
    assert got.flatten().tolist() == pytest.approx([-0.05, 2.9, 0.0, 0.0, 0.0, -1.2])


def test_gae_by_hand():
    rewards = torch.tensor([[0.0, 1.0, 50.0]])
    values = torch.tensor([[0.5, 0.4, 70.0]])
    mask = torch.tensor([[True, True, False]])
    got, returns = advantages.gae(rewards, values, mask, gamma=0.9, lam=0.5)
    # Last: 1 - 0.4 = 0.6. First: 0.9 * 0.4 - 0.5 + 0.9 * 0.5 * 0.6 = 0.13.
    assert got.flatten().tolist() == pytest.approx([0.13, 0.6, 0.0])
    assert returns.flatten().tolist() == pytest.approx([0.63, 1.0, 0.0])


def test_with_lambda_one_the_return_is_the_sum_of_rewards():
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    values = torch.tensor([[0.3, -0.2, 0.9]])
    _, returns = advantages.gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), gamma=1.0, lam=1.0)
    assert returns.flatten().tolist() == pytest.approx([6.0, 5.0, 3.0])


def test_whitening_looks_at_real_tokens_only():
    values = torch.tensor([[1.0, 3.0, 1000.0]])
    mask = torch.tensor([[True, True, False]])
    assert advantages.whiten(values, mask).flatten().tolist() == pytest.approx([-1.0, 1.0, 0.0])


def test_whitening_one_token_leaves_it_alone():
    mask = torch.tensor([[True, False]])
    assert advantages.whiten(torch.tensor([[2.0, 5.0]]), mask).tolist() == [[2.0, 0.0]]


def test_explained_variance_of_a_perfect_and_of_a_constant_critic():
    returns = torch.tensor([[1.0, 2.0, 99.0]])
    mask = torch.tensor([[True, True, False]])
    assert advantages.explained_variance(returns, returns, mask) == 1
    assert advantages.explained_variance(torch.zeros(1, 3), returns, mask) == 0
    assert advantages.explained_variance(returns, torch.ones(1, 3), mask) == 0


def test_the_controller_pays_more_above_the_target_and_less_below():
    controller = advantages.KLController(beta=0.1, target=5.0, horizon=1000)
    controller.update(5.5, answers=100)
    assert controller.beta == pytest.approx(0.1 * 1.01)
    controller.update(500.0, answers=100)
    assert controller.beta == pytest.approx(0.1 * 1.01 * 1.02)
    controller.update(0.0, answers=500)
    assert controller.beta == pytest.approx(0.1 * 1.01 * 1.02 * 0.9)


def test_without_a_target_the_price_stays():
    controller = advantages.KLController(beta=0.1)
    controller.update(500.0, answers=100)
    assert controller.beta == 0.1


def test_scores_are_measured_in_deviations_of_the_reference():
    scale = advantages.ScoreScale.of(torch.tensor([1.0, 3.0]))
    assert scale(torch.tensor([2.0, 2.0 + 2**0.5])).tolist() == pytest.approx([0.0, 1.0])


def test_a_constant_reward_model_is_not_divided_by_zero():
    assert advantages.ScoreScale.of(torch.tensor([4.0, 4.0])) == advantages.ScoreScale(4.0, 1.0)
