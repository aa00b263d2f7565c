"""Our losses give the numbers of TRL on random log-probabilities; its own code runs on a stand-in for a model,
and that of SFT on a model."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from tests.training.conftest import CHATML, demonstrations
from training import data, forward, groups, losses, models, runfile, sft
from training.reward_losses import preference_loss

pytestmark = pytest.mark.slow  # importing TRL takes seconds
PAIRS, TOKENS = 6, 9


@pytest.fixture
def answers():
    """Log-probabilities of 2B answers by token under a policy and a reference, with the mask of their real tokens."""
    generator = torch.Generator().manual_seed(3)
    mask = torch.arange(TOKENS) < torch.randint(1, TOKENS + 1, (2 * PAIRS, 1), generator=generator)
    logps = -torch.rand(2 * PAIRS, TOKENS, generator=generator) * 3 * mask
    return SimpleNamespace(
        mask=mask,
        tokens=logps,
        logps=logps.sum(1),
        ref_logps=(-torch.rand(2 * PAIRS, generator=generator) * 3 * mask.sum(1)),
        lengths=mask.sum(1),
    )


def stand_in(answers, **settings):
    """What TRL's loss methods read of a trainer, and a model that answers with the given log-probabilities."""
    device = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False), accelerator=device, aux_loss_enabled=False, ld_alpha=None,
        precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_weights=[1.0], use_weighting=False,
        _metrics={"eval": defaultdict(list)}, _total_train_tokens=0, **settings,
    )  # fmt: skip
    shown = torch.zeros_like(answers.tokens)
    out = SimpleNamespace(log_probs=answers.tokens, entropy=shown, mean_logits=shown, is_top1=answers.mask)
    whole = torch.cat([torch.zeros(2 * PAIRS, 1, dtype=torch.bool), answers.mask], dim=1)  # one token of prompt
    inputs = {"input_ids": whole.long(), "attention_mask": whole.long(), "completion_mask": whole.long()}
    return trainer, (lambda **_: out), inputs


@pytest.mark.parametrize(
    ("kind", "smoothing"),
    [("sigmoid", 0.0), ("robust", 0.2)]  # TRL's sigmoid knows no smoothing; test_losses has the conservative one
    + [(kind, 0.0) for kind in ("ipo", "hinge", "sigmoid_norm", "apo_zero", "apo_down")],
)
def test_the_losses_of_dpo_are_those_of_trl(answers, kind, smoothing):
    from trl import DPOTrainer

    trainer, model, inputs = stand_in(answers, beta=0.3, loss_types=[kind], label_smoothing=smoothing)
    chosen, rejected = answers.ref_logps.chunk(2)
    theirs = DPOTrainer._compute_loss(
        trainer, model, inputs | {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}, False
    )
    ours = losses.dpo_loss(
        answers.logps, answers.ref_logps, beta=0.3, kind=kind, label_smoothing=smoothing, lengths=answers.lengths
    )
    assert ours.mean().item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_simpo_is_that_of_trl(answers, smoothing):
    from trl.experimental.cpo import CPOTrainer

    trainer = SimpleNamespace(
        alpha=0.0, beta=2.0, simpo_gamma=1.0, loss_type="simpo", label_smoothing=smoothing,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    theirs, _, _ = CPOTrainer.cpo_loss(trainer, *(answers.logps / answers.lengths).chunk(2))
    ours = losses.dpo_loss(
        answers.logps, answers.ref_logps, beta=2.0, kind="simpo", gamma=1.0, label_smoothing=smoothing,
        lengths=answers.lengths,
    )  # fmt: skip
    assert torch.allclose(ours, theirs)


def test_the_odds_ratio_of_orpo_is_that_of_trl(answers):
    from trl.experimental.orpo import ORPOTrainer

    means = answers.logps / answers.lengths
    trainer = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device="cpu"))
    theirs = ORPOTrainer.odds_ratio_loss(trainer, *means.chunk(2))[0]  # TRL subtracts it from the chosen answer's loss
    ours = losses.dpo_loss(answers.logps, answers.ref_logps, beta=0.3, kind="orpo", lengths=answers.lengths)
    assert torch.allclose(ours, -means.chunk(2)[0] - theirs, atol=1e-6)


def test_kto_is_that_of_trl(answers):
    from trl import KTOTrainer

    labels = torch.arange(2 * PAIRS) % 3 != 0
    policy_kl, ref_kl = answers.logps.roll(1), answers.ref_logps.roll(1) - 1.0
    trainer, model, inputs = stand_in(
        answers, beta=0.3, loss_type="kto", calculate_KL=True, desirable_weight=1.2, undesirable_weight=0.7
    )
    trainer._compute_kl_logps = lambda *_: policy_kl
    theirs = KTOTrainer._compute_loss(
        trainer, model, inputs | {"label": labels, "ref_logps": answers.ref_logps, "ref_KL_logps": ref_kl}, False
    )
    ours = losses.kto_loss(
        answers.logps, answers.ref_logps, labels, (policy_kl - ref_kl).mean().clamp(min=0),
        beta=0.3, desirable_weight=1.2, undesirable_weight=0.7,
    )  # fmt: skip
    assert ours.mean().item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["grpo", "bnpo", "dr_grpo"])
def test_the_loss_of_grpo_is_that_of_trl(answers, kind):
    from trl import GRPOTrainer

    old, ref = answers.tokens - 0.1 * answers.mask, answers.tokens.roll(1, 0) * answers.mask
    advantages = torch.linspace(-1, 1, 2 * PAIRS)
    each, _ = groups.grpo_losses(answers.tokens, old, ref, advantages, clip=0.2, clip_high=0.28, beta=0.04)
    rows, tokens = 2 * PAIRS, float(answers.mask.sum())
    ours = groups.share_of(
        each, answers.mask, "dapo" if kind == "bnpo" else kind, rows=rows, tokens=tokens, longest=TOKENS
    )
    theirs = grpo_of_trl(GRPOTrainer, answers, old, ref, advantages, kind)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_the_loss_of_rloo_is_that_of_trl(answers):
    from trl import RLOOTrainer

    old, advantages = answers.tokens - 0.1 * answers.mask, torch.linspace(-1, 1, 2 * PAIRS)
    shown = torch.zeros_like(answers.tokens)
    alone = SimpleNamespace(gather=lambda x: x, reduce=lambda x, **_: x)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False), accelerator=alone, epsilon_low=0.2, epsilon_high=0.2,
        aux_loss_enabled=False, _metrics={"eval": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *a, **k: (answers.tokens, shown, None),
    )  # fmt: skip
    ids = torch.zeros(2 * PAIRS, 1, dtype=torch.long)
    inputs = {
        "prompt_ids": ids, "prompt_mask": ids + 1, "completion_ids": answers.mask.long(),
        "completion_mask": answers.mask.long(), "advantages": advantages, "old_logps": old.sum(1),
    }  # fmt: skip
    ours, _ = groups.rloo_losses(answers.tokens, old, advantages, answers.mask, clip=0.2)
    assert ours.mean().item() == pytest.approx(RLOOTrainer._compute_loss(trainer, None, inputs).item(), rel=1e-5)


def test_the_loss_of_a_reward_model_is_that_of_trl(answers):
    from trl import RewardTrainer

    scores, margin = answers.logps.view(-1, 1) / 5, torch.linspace(0, 3, PAIRS)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False), args=SimpleNamespace(center_rewards_coefficient=0.02),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics={"eval": defaultdict(list)}, _total_train_tokens=0,
    )  # fmt: skip
    inputs = {"margin": margin, "attention_mask": answers.mask}
    theirs = RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=scores), inputs)
    chosen, rejected = scores[:, 0].chunk(2)
    ours = preference_loss(chosen, rejected, margin=margin, weight=torch.ones(PAIRS), label_smoothing=0.0, center=0.02)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def grpo_of_trl(trainer_class, answers, old, ref, advantages, kind):
    """TRL's loss of one minibatch, without its metrics."""
    shown = torch.zeros_like(answers.tokens)
    alone = SimpleNamespace(gather=lambda x: x, reduce=lambda x, **_: x, num_processes=1)
    trainer = Silent(
        model=SimpleNamespace(training=False), accelerator=alone,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False), loss_type=kind, beta=0.04, epsilon_low=0.2,
        epsilon_high=0.28, importance_sampling_level="token", off_policy_mask_threshold=None, top_entropy_quantile=1.0,
        use_vllm=False, aux_loss_enabled=False, _entropy_bonus_enabled=False, max_completion_length=TOKENS,
        current_gradient_accumulation_steps=1, tools=None, _metrics={"eval": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *a, **k: (answers.tokens, shown, None),
    )  # fmt: skip
    ids = torch.zeros(2 * PAIRS, 1, dtype=torch.long)
    inputs = {
        "prompt_ids": ids, "prompt_mask": ids + 1, "completion_ids": answers.mask.long(),
        "completion_mask": answers.mask.long(), "advantages": advantages, "old_per_token_logps": old,
        "ref_per_token_logps": ref,
    }  # fmt: skip
    return trainer_class._compute_loss(trainer, None, inputs)


class Silent(SimpleNamespace):
    """A stand-in whose other attributes are off."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return


def test_the_advantages_of_a_group_are_scaled_as_trl_scales_them():
    rewards = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert torch.allclose(groups.group_advantages(rewards, 4, scale="group"), (rewards - 3) / (rewards.std() + 1e-4))


@pytest.mark.filterwarnings("ignore")
def test_the_loss_of_sft_is_that_of_trl(tiny_model_dir, tmp_path) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = demonstrations(4)
    keys = {"kind": "sft", "base_model": str(tiny_model_dir), "snapshot": "s"}
    tokenizer = models.load_tokenizer(runfile.check(keys), tmp_path)
    tokenizer.chat_template = CHATML.replace("<|im_end|>\n", "<|im_end|>")  # TRL learns what follows EOS as well
    model = models.load_causal(tiny_model_dir, models.Hardware(device="cpu")).eval()
    pairs = [data.Encoder(tokenizer).pair(row["prompt"], row["completion"]) for row in rows]
    ours = sft.answer_loss(model, forward.pack_answers(pairs, tokenizer.pad_token_id, model.device)).item()
    options = SFTConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True, report_to=[], completion_only_loss=True
    )
    trainer = SFTTrainer(model=model, args=options, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert trainer.compute_loss(model, batch).item() == pytest.approx(ours, abs=1e-4)
