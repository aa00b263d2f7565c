import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import tiny_llama, tiny_tokenizer
from training import adapters, forward, inputs, models, policies, rollout
from training.advantages import ScoreScale
from training.runfile import Adapter, Hardware, RunFileError, model_hash

CPU = Hardware(device="cpu", threads=1)
LORA = Adapter(r=4, alpha=8)
ANSWERED = [([5, 6, 7], [8, 9, 10, 2]), ([11], [12, 2]), ([13, 14, 15, 16, 17], [18, 19, 20, 21, 22, 23])]


def stir(parameters, seed=1):
    """Weights as training leaves them: a fresh adapter's B is zero and would hide every mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in parameters:
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.2)


def write_reward(folder: Path, base: Path, adapter: Adapter = LORA) -> Path:
    model = adapters.attach(models.load_classifier(base, CPU, 0), adapter, task="reward")
    stir(p for p in model.parameters() if p.requires_grad)
    model.save_pretrained(folder)
    return folder


def scores_by_plain_peft(folder: Path, base: Path) -> torch.Tensor:
    model = models.load_reward(folder, base, CPU, 0)
    with torch.no_grad():
        return torch.cat([model(torch.tensor([p + a])).logits[0] for p, a in ANSWERED])


@pytest.fixture
def base(tiny_model_dir):
    return policies.SharedBase(tiny_model_dir, CPU)


@pytest.fixture
def reward(tmp_path, tiny_model_dir):
    return write_reward(tmp_path / "reward", tiny_model_dir)


def logps(lm):
    batch = forward.pack_answers(ANSWERED, 0, torch.device("cpu"))
    return batch.per_answer(forward.token_logps(lm, batch)[0])


def test_a_reward_adapter_scores_on_the_shared_base_as_it_does_in_plain_peft(base, reward, tiny_model_dir):
    base.add(policies.POLICY, LORA)
    stir(base.weights(policies.POLICY).values(), seed=2)
    scorer = policies.load_scorer(reward, base, tiny_model_dir, CPU, None)
    assert isinstance(scorer, policies.SharedScorer)
    assert torch.allclose(scorer.score(ANSWERED, 0), scores_by_plain_peft(reward, tiny_model_dir), atol=1e-5)


def test_only_what_was_added_to_learn_learns_whatever_is_switched_on(base, reward, tiny_model_dir):
    base.add(policies.POLICY, LORA)
    scorer = policies.load_scorer(reward, base, tiny_model_dir, CPU, None)
    value = policies.ValueModel(base, LORA, scorer, reward, None)
    scorer.score(ANSWERED, 0)
    for name in (policies.POLICY, "value", "reward", None):
        with base.speaking_as(name):
            pass
        learning = {key for key, weight in base.lm.named_parameters() if weight.requires_grad}
        assert learning and all(f".{policies.POLICY}." in key or ".value." in key for key in learning)
    count = len(base.weights(policies.POLICY))
    assert count == len(base.weights("value")) == len(base.weights("reward")) == 2 * 7 * 2  # layers, linears, A and B
    assert len(value.weights()) == count + 2


def test_adapters_do_not_hear_each_other(base):
    plain = logps(base.lm)
    base.add(policies.POLICY, LORA)
    base.add("value", LORA)
    stir(base.weights(policies.POLICY).values())
    with base.speaking_as(policies.POLICY) as lm:
        moved = logps(lm)
        with base.speaking_as("value"):
            assert torch.equal(logps(lm), plain)
        assert torch.equal(logps(lm), moved)
    assert torch.equal(logps(base.lm), plain)
    assert (moved - plain).abs().max() > 0.01


def test_folding_answers_as_the_adapter_does_and_gives_the_base_back_bit_for_bit(base):
    base.add(policies.POLICY, LORA)
    stir(base.weights(policies.POLICY).values())
    before = {key: weight.clone() for key, weight in base.lm.state_dict().items()}
    with base.speaking_as(policies.POLICY) as lm:
        expected = logps(lm)
    with base.answering_as(policies.POLICY) as lm:
        assert not torch.equal(
            lm.state_dict()["model.layers.0.mlp.up_proj.base_layer.weight"],
            before["model.layers.0.mlp.up_proj.base_layer.weight"],
        )
        assert torch.allclose(logps(lm), expected, atol=1e-4)
    assert all(torch.equal(weight, before[key]) for key, weight in base.lm.state_dict().items())


def test_a_failure_while_folded_still_gives_the_base_back(base):
    base.add(policies.POLICY, LORA)
    stir(base.weights(policies.POLICY).values())
    plain = logps(base.lm)
    with pytest.raises(KeyboardInterrupt), base.answering_as(policies.POLICY):
        raise KeyboardInterrupt
    assert torch.equal(logps(base.lm), plain)


def test_bfloat16_is_not_folded(tiny_model_dir):
    base = policies.SharedBase(tiny_model_dir, replace(CPU, dtype="bfloat16"))
    base.add(policies.POLICY, LORA)
    with base.answering_as(policies.POLICY) as lm:
        assert lm.model.layers[0].mlp.up_proj.active_adapters == [policies.POLICY]


def test_the_policy_trains_while_reward_and_base_stand_still(base, reward, tiny_model_dir):
    base.add(policies.POLICY, LORA)
    scorer = policies.load_scorer(reward, base, tiny_model_dir, CPU, None)
    before = {key: weight.clone() for key, weight in base.lm.state_dict().items() if ".default." not in key}
    optimizer = torch.optim.AdamW(base.weights(policies.POLICY).values(), lr=0.1)
    for _ in range(3):
        scorer.score(ANSWERED, 0)
        with base.speaking_as(policies.POLICY) as lm:
            (-logps(lm).sum()).backward()
        assert sum(w.grad.abs().sum() for w in base.weights(policies.POLICY).values()) > 0
        optimizer.step()
    assert all(torch.equal(base.lm.state_dict()[key], weight) for key, weight in before.items())


def test_the_value_starts_as_the_normalised_reward(base, reward, tiny_model_dir):
    scorer = policies.load_scorer(reward, base, tiny_model_dir, CPU, None)
    value = policies.ValueModel(base, LORA, scorer, reward, None)
    scale = ScoreScale(mean=3.0, std=2.0)
    value.rescale(scale)
    # A value is read before its token: append one token and its value is the score of what stood before it.
    longer = [(p, [*a, 9]) for p, a in ANSWERED]
    values = value(forward.pack_answers(longer, 0, torch.device("cpu")))
    last = torch.stack([values[i, len(a)] for i, (_, a) in enumerate(ANSWERED)])
    assert torch.allclose(last, scale(scorer.score(ANSWERED, 0)), atol=1e-5)


def test_a_policy_is_saved_alone_and_loads_in_plain_peft(base, reward, tiny_model_dir, tmp_path):
    base.add(policies.POLICY, LORA)
    policies.load_scorer(reward, base, tiny_model_dir, CPU, None)
    stir(base.weights(policies.POLICY).values())
    base.save_pretrained(tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    with base.speaking_as(policies.POLICY) as lm:
        expected = logps(lm)
    again = models.load_policy(tiny_model_dir, tmp_path / "out", CPU)
    assert torch.allclose(logps(again.get_base_model()), expected, atol=1e-6)


def test_a_policy_that_starts_from_an_adapter_speaks_like_it(base, tiny_model_dir, tmp_path):
    base.add(policies.POLICY, LORA)
    stir(base.weights(policies.POLICY).values())
    base.save_pretrained(tmp_path / "start")
    again = policies.SharedBase(tiny_model_dir, CPU)
    again.add(policies.POLICY, LORA, start=tmp_path / "start")
    again.load("reference", tmp_path / "start")
    with base.speaking_as(policies.POLICY) as first, again.speaking_as(policies.POLICY) as second:
        assert torch.equal(logps(first), logps(second))
    with again.speaking_as("reference") as lm:
        reference = logps(lm)
    with base.speaking_as(policies.POLICY) as lm:
        assert torch.equal(logps(lm), reference)
    assert not any(w.requires_grad for w in again.weights("reference").values())


def test_a_whole_classifier_is_loaded_by_itself(base, tiny_model_dir, tmp_path):
    classifier = models.load_classifier(tiny_model_dir, CPU, 0)
    stir([classifier.score.weight])
    classifier.save_pretrained(tmp_path / "classifier")
    scorer = policies.load_scorer(tmp_path / "classifier", base, tiny_model_dir, CPU, tiny_tokenizer())
    assert isinstance(scorer, policies.SeparateScorer)
    with torch.no_grad():
        expected = torch.cat([classifier(torch.tensor([p + a])).logits[0] for p, a in ANSWERED])
    assert torch.allclose(scorer.score(ANSWERED, 0), expected, atol=1e-5)
    value = policies.ValueModel(base, LORA, scorer, tmp_path / "classifier", None)
    assert value(forward.pack_answers(ANSWERED, 0, torch.device("cpu"))).abs().max() == 0


def test_a_reward_adapter_on_another_base_is_loaded_by_itself(base, tiny_model_dir, tmp_path):
    other = tmp_path / "other"
    tiny_llama(tiny_tokenizer(), seed=5).save_pretrained(other)
    folder = write_reward(tmp_path / "reward-other", other)
    scorer = policies.load_scorer(folder, base, tiny_model_dir, CPU, tiny_tokenizer())
    assert isinstance(scorer, policies.SeparateScorer)
    assert torch.allclose(scorer.score(ANSWERED, 0), scores_by_plain_peft(folder, other), atol=1e-5)


def test_a_reward_model_with_another_vocabulary_is_refused(base, tiny_model_dir, tmp_path):
    models.load_classifier(tiny_model_dir, CPU, 0).save_pretrained(tmp_path / "classifier")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["extra"])
    tiny_tokenizer().save_pretrained(tmp_path / "classifier")
    with pytest.raises(RunFileError, match="vocabulary"):
        policies.load_scorer(tmp_path / "classifier", base, tiny_model_dir, CPU, tokenizer)


def test_an_adapter_whose_base_moved_is_known_by_its_hash(base, reward, tiny_model_dir):
    assert inputs.trained_on(reward, tiny_model_dir)
    config = json.loads((reward / "adapter_config.json").read_text())
    (reward / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "gone"}))
    assert inputs.trained_on(reward, tiny_model_dir) is None
    with pytest.raises(RunFileError, match="gone, which is not there"):
        policies.load_scorer(reward, base, tiny_model_dir, CPU, None)
    card = {"base_model": {"path": "gone", "sha256": model_hash(tiny_model_dir)}}
    (reward / "hone.json").write_text(json.dumps(card))
    assert inputs.trained_on(reward, tiny_model_dir)
    (reward / "hone.json").write_text(json.dumps({"base_model": {"path": "gone", "sha256": "0" * 64}}))
    assert inputs.trained_on(reward, tiny_model_dir) is False


def test_rollouts_of_a_folded_policy_agree_with_its_training_pass(base):
    base.add(policies.POLICY, LORA)
    stir(base.weights(policies.POLICY).values())
    with base.answering_as(policies.POLICY) as lm:
        got = rollout.sample(
            lm,
            [p for p, _ in ANSWERED],
            stop=[2],
            pad_id=0,
            max_new_tokens=12,
            samples=4,
            temperature=0.8,
            generator=torch.Generator().manual_seed(0),
        )
    answers = [got.tokens[i, : got.lengths[i]].tolist() for i in range(12)]
    batch = forward.pack_answers(list(zip(got.prompts, answers, strict=True)), 0, torch.device("cpu"))
    with base.speaking_as(policies.POLICY) as lm:
        again = batch.per_answer(forward.token_logps(lm, batch, temperature=0.8)[0])
    assert (again - got.logps).exp().sub(1).abs().max() < 1e-4
    again.sum().backward()  # what a rollout returns must be usable beside a gradient
