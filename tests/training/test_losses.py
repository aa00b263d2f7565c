import math

import pytest
import torch

from training import losses


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Two pairs. Margins by hand: (-1 - -2) - (-3 - -2.5) = 1.5 and (-4 - -3.5) - (-2 - -2) = -0.5.
LOGPS = torch.tensor([-1.0, -4.0, -3.0, -2.0])
REF = torch.tensor([-2.0, -3.5, -2.5, -2.0])


def test_margin_is_the_lead_of_the_chosen_answer_over_the_reference():
    assert losses.dpo_margins(LOGPS, REF).tolist() == [1.5, -0.5]


def test_sigmoid_loss_is_equation_7():
    got = losses.dpo_loss(LOGPS, REF, beta=0.5)
    assert got.tolist() == pytest.approx([-math.log(sigmoid(0.75)), -math.log(sigmoid(-0.25))])


def test_sigmoid_loss_without_drift_is_log_two():
    assert losses.dpo_loss(REF, REF, beta=0.1).tolist() == pytest.approx([math.log(2)] * 2)


def test_conservative_loss_mixes_both_labels():
    got = losses.dpo_loss(LOGPS, REF, beta=0.5, label_smoothing=0.1)[0]
    assert got.item() == pytest.approx(-0.9 * math.log(sigmoid(0.75)) - 0.1 * math.log(sigmoid(-0.75)))


def test_robust_loss_is_unbiased_for_flipped_labels():
    got = losses.dpo_loss(LOGPS, REF, beta=0.5, kind="robust", label_smoothing=0.1)[0]
    right, wrong = -math.log(sigmoid(0.75)), -math.log(sigmoid(-0.75))
    assert got.item() == pytest.approx((0.9 * right - 0.1 * wrong) / 0.8)
    swapped = losses.dpo_loss(LOGPS[[2, 3, 0, 1]], REF[[2, 3, 0, 1]], beta=0.5, kind="robust", label_smoothing=0.1)[0]
    assert 0.9 * got.item() + 0.1 * swapped.item() == pytest.approx(right)


def test_hinge_loss_stops_at_a_margin_of_one():
    assert losses.dpo_loss(LOGPS, REF, beta=0.5, kind="hinge").tolist() == pytest.approx([0.25, 1.25])
    assert losses.dpo_loss(LOGPS, REF, beta=1.0, kind="hinge")[0].item() == 0


def test_ipo_loss_averages_per_token_and_aims_at_half_over_beta():
    lengths = torch.tensor([2.0, 1.0, 4.0, 1.0])
    # First pair by hand: (1.0 / 2) - (-0.5 / 4) = 0.625, target 1 / (2 * 0.5) = 1.
    got = losses.dpo_loss(LOGPS, REF, beta=0.5, kind="ipo", lengths=lengths)
    assert got.tolist() == pytest.approx([(0.625 - 1) ** 2, (-0.5 - 1) ** 2])
    with pytest.raises(ValueError, match="lengths"):
        losses.dpo_loss(LOGPS, REF, beta=0.5, kind="ipo")


LENGTHS = torch.tensor([2.0, 1.0, 4.0, 1.0])


def test_length_normalised_loss_is_the_sigmoid_of_margins_per_token():
    # First pair by hand: 1.0 / 2 - (-0.5 / 4) = 0.625; second: -0.5 / 1 - 0 / 1.
    got = losses.dpo_loss(LOGPS, REF, beta=2.0, kind="sigmoid_norm", lengths=LENGTHS)
    assert got.tolist() == pytest.approx([-math.log(sigmoid(1.25)), -math.log(sigmoid(-1.0))])


def test_simpo_asks_for_a_lead_per_token_and_looks_at_no_reference():
    # First pair: 2 (-1/2 + 3/4) - 0.5 = 0; second: 2 (-4 + 2) - 0.5 = -4.5.
    got = losses.dpo_loss(LOGPS, REF, beta=2.0, kind="simpo", lengths=LENGTHS, gamma=0.5)
    assert got.tolist() == pytest.approx([math.log(2), -math.log(sigmoid(-4.5))])
    assert torch.equal(got, losses.dpo_loss(LOGPS, REF * 7, beta=2.0, kind="simpo", lengths=LENGTHS, gamma=0.5))


def test_orpo_adds_the_odds_ratio_to_the_loss_of_the_chosen_answer():
    got = losses.dpo_loss(LOGPS, REF, beta=0.3, kind="orpo", lengths=LENGTHS)
    p, q = math.exp(-0.5), math.exp(-0.75)
    ratio = (p / (1 - p)) / (q / (1 - q))
    assert got[0].item() == pytest.approx(0.5 - 0.3 * math.log(sigmoid(math.log(ratio))))
    certain = losses.dpo_loss(torch.zeros(2), torch.zeros(2), beta=0.3, kind="orpo", lengths=torch.ones(2))
    assert torch.isfinite(certain).all()


def test_apo_anchors_each_answer_at_the_reference():
    # Log-ratios of the first pair: chosen 1.0, rejected -0.5.
    zero = losses.dpo_loss(LOGPS, REF, beta=0.5, kind="apo_zero")[0].item()
    down = losses.dpo_loss(LOGPS, REF, beta=0.5, kind="apo_down")[0].item()
    assert zero == pytest.approx(1 - sigmoid(0.5) + sigmoid(-0.25))
    assert down == pytest.approx(sigmoid(0.5) + 1 - sigmoid(0.75))


def test_implied_rewards_are_what_each_loss_compares():
    plain = losses.implied_rewards(LOGPS, REF, beta=0.5, kind="sigmoid", lengths=LENGTHS)
    assert plain.tolist() == pytest.approx([0.5, -0.25, -0.25, 0.0])
    averaged = losses.implied_rewards(LOGPS, REF, beta=0.5, kind="sigmoid_norm", lengths=LENGTHS)
    assert averaged.tolist() == pytest.approx([0.25, -0.25, -0.0625, 0.0])
    alone = losses.implied_rewards(LOGPS, REF, beta=2.0, kind="simpo", lengths=LENGTHS)
    assert alone.tolist() == pytest.approx([-1.0, -8.0, -1.5, -4.0])


def test_kto_loss_weighs_wanted_and_unwanted_answers_against_the_reference_point():
    # Log-ratios 1.0, -0.5, -0.5, 0.0 less a reference point of 0.5, times beta 2: 1, -2, -2, -1.
    labels = torch.tensor([True, True, False, False])
    got = losses.kto_loss(LOGPS, REF, labels, torch.tensor(0.5), beta=2.0, desirable_weight=1.5)
    wanted = [1.5 * (1 - sigmoid(1)), 1.5 * (1 - sigmoid(-2))]
    assert got.tolist() == pytest.approx([*wanted, 1 - sigmoid(2), 1 - sigmoid(1)])


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(ValueError, match="'kto'"):
        losses.dpo_loss(LOGPS, REF, beta=0.5, kind="kto")


def test_policy_loss_takes_the_worse_of_clipped_and_unclipped():
    ratio = torch.tensor([[1.0, 1.5, 1.5, 0.5, 9.0]])
    advantages = torch.tensor([[2.0, 1.0, -1.0, 1.0, 100.0]])
    mask = torch.tensor([[True, True, True, True, False]])
    loss, got = losses.policy_loss(ratio.log(), torch.zeros(1, 5), advantages, mask, clip=0.2)
    # 1.0 * 2; min(1.5, 1.2); min(-1.5, -1.2); min(0.5, 0.8): mean of 2, 1.2, -1.5, 0.5 is 0.55.
    assert loss.item() == pytest.approx(-0.55)
    assert got == pytest.approx(ratio)
    assert losses.clip_fraction(got, mask, clip=0.2).item() == pytest.approx(0.75)
    assert losses.clip_fraction(torch.tensor([0.7, 1.25, 1.3]), torch.ones(3), clip=0.2, clip_high=0.28) == 2 / 3


def test_clipped_tokens_have_no_gradient():
    logps = torch.tensor([[math.log(1.5), math.log(1.5)]], requires_grad=True)
    advantages = torch.tensor([[1.0, -1.0]])
    loss, _ = losses.policy_loss(logps, torch.zeros(1, 2), advantages, torch.ones(1, 2, dtype=torch.bool), clip=0.2)
    loss.backward()
    assert logps.grad.tolist() == [[0.0, pytest.approx(0.75)]]  # 1.5 / 2 tokens


def test_value_loss_is_the_worse_of_moving_and_staying_near():
    values = torch.tensor([[1.0, 0.1, 7.0]])
    old = torch.tensor([[0.0, 0.0, 0.0]])
    returns = torch.tensor([[1.0, 1.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    # First: near = 0.2, max(0, 0.64); second: near = 0.1, 0.81. Half their mean.
    assert losses.value_loss(values, old, returns, mask, clip=0.2).item() == pytest.approx(0.5 * (0.64 + 0.81) / 2)


def test_kl_estimators_by_hand():
    logps, ref = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])
    assert losses.kl_k1(logps, ref).tolist() == [0.5, -1.0]
    assert losses.kl_k3(logps, ref).tolist() == pytest.approx([math.exp(-0.5) - 1 + 0.5, math.e - 1 - 1], rel=1e-5)


def test_both_estimators_have_the_exact_kl_as_their_mean():
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    exact = 0.7 * math.log(7 / 3) + 0.2 * math.log(2 / 3) + 0.1 * math.log(1 / 4)
    assert losses.exact_kl(p.log() + 3, q.log() - 1).item() == pytest.approx(exact, rel=1e-5)
    assert (p * losses.kl_k1(p.log(), q.log())).sum().item() == pytest.approx(exact, rel=1e-5)
    assert (p * losses.kl_k3(p.log(), q.log())).sum().item() == pytest.approx(exact, rel=1e-5)


def test_entropy_of_a_fair_coin_is_log_two():
    assert losses.entropy(torch.tensor([[0.0, 0.0, -1e9]])).item() == pytest.approx(math.log(2))


def test_masked_mean_of_nothing_is_zero():
    assert losses.masked_mean(torch.ones(2), torch.zeros(2)).item() == 0
