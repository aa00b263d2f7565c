"""Every adapter on every kind of run that takes it, and what is refused before torch loads."""

import json
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import ROOT
from training import adapters, compatibility, data, forward, inputs, models, rollout, runfile
from training.compatibility import METHODS, TRAINERS
from training.policies import SharedBase
from training.rundir import RunDir, read_metrics, read_report
from training.runfile import Adapter, Hardware, RunFileError

CPU = Hardware(device="cpu", threads=1)
SMALL = {
    "adalora": {"r": 4, "alpha": 8},
    "ia3": {},
    **{method: {"r": 4, "alpha": 8} for method in ("lora", "dora", "rslora")},
    **{method: {"virtual_tokens": 3} for method in compatibility.VIRTUAL},
    **{method: {"bottleneck": 4} for method in compatibility.BOTTLENECKS},
}
SUPERVISED = ("sft", "reward", "dpo", "kto")


class StopsAt(RunDir):
    stop_at = 0

    def log(self, step, **metrics):
        super().log(step, **metrics)
        self.stop_requested = self.stop_requested or (step == self.stop_at and "loss" in metrics)


def train(folder: Path, stop_at: int = 0) -> None:
    config = runfile.read(folder / "run.json")
    inputs.check_inputs(config, folder)
    run = StopsAt(folder)
    run.stop_at = stop_at
    with run.recorded():
        import_module(f"training.{config.kind}").train(config, run)


@pytest.fixture
def make(make_run, demonstration_snapshot, tiny_snapshot, binary_snapshot):
    snapshots = {"sft": demonstration_snapshot, "kto": binary_snapshot}

    def write(kind: str, method: str, name: str | None = None, *, params=None, **keys) -> Path:
        given = {"batch_size": 8, "learning_rate": 0.01, "max_steps": 2} | (params or {})
        if kind in ("dpo", "kto"):
            given |= {"sample_prompts": 0}
            keys = {"reference": "base"} | keys
        adapter = {"method": method} | SMALL[method]
        snapshot = snapshots.get(kind, tiny_snapshot)
        return make_run(kind, name or f"{kind}-{method}", adapter=adapter, snapshot=snapshot, params=given, **keys)

    return write


def test_the_docs_show_the_table_as_it_is():
    text = (ROOT / "docs/training.md").read_text("utf-8")
    assert compatibility.table() in text and compatibility.reasons() in text


def described(kind: str, method: str | None, **more) -> dict:
    keys = {"base_model": {"path": "m"}, "snapshot": {"path": "s"}, "reward_model": {"path": "r"}}
    if kind not in compatibility.ROLLOUTS:
        del keys["reward_model"]
    if kind not in ("sft", "reward"):
        keys["reference"] = "base"
    return {"kind": kind, **keys, "adapter": {"method": method} if method else None} | more


@pytest.mark.parametrize("kind", [kind for kind in TRAINERS if kind in runfile.PARAMS])
def test_what_does_not_work_is_refused_with_what_does(kind):
    for method in (None, *METHODS):
        reason = compatibility.refusal(kind, method)
        if reason is None:
            runfile.check(described(kind, method))
            continue
        with pytest.raises(RunFileError) as refused:
            runfile.check(described(kind, method))
        assert reason in str(refused.value)
        near = reason.split()[-1]
        assert near in METHODS and compatibility.refusal(kind, near) is None


def test_layers_that_the_model_does_not_have_are_named(tiny_model_dir):
    model = models.load_causal(tiny_model_dir, CPU)
    with pytest.raises(RunFileError, match=r"adapter does not fit this model: .*nope_proj"):
        adapters.attach(model, Adapter(targets=["nope_proj"]), task="causal")


def test_quantised_weights_are_refused_without_the_library_that_keeps_them(monkeypatch, tmp_path):
    config = runfile.check(described("sft", "qlora", hardware={"device": "cpu"}))
    monkeypatch.setattr(inputs, "_model_refs", lambda _: [])
    monkeypatch.setattr(inputs, "_check_snapshot", lambda _: None)
    monkeypatch.setattr(compatibility, "can_quantise", lambda: False)
    with pytest.raises(RunFileError, match=r"needs bitsandbytes: install it .* the nearest that works is lora"):
        inputs.check_inputs(config, tmp_path)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"method": "ia3", "r": 4}, "adapter.r has no meaning for ia3"),
        ({"method": "lora", "virtual_tokens": 4}, "adapter.virtual_tokens has no meaning for lora"),
        ({"method": "qlora", "bits": 5}, "adapter.bits must be 4 or 8"),
        ({"method": "adalora", "r": 4, "target_r": 4}, "adapter.target_r must be below adapter.r 4"),
    ],
)
def test_a_setting_of_another_method_is_refused(adapter, message):
    with pytest.raises(RunFileError, match=message):
        runfile.check(described("sft", "lora") | {"adapter": adapter})


def test_each_method_has_a_rate_of_its_own():
    assert runfile.defaults("sft", "lora")["learning_rate"] == 2e-4
    assert runfile.defaults("sft", "ia3")["learning_rate"] == 3e-3
    assert runfile.defaults("sft", None)["learning_rate"] == 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("kind", SUPERVISED)
def test_every_pair_of_the_table_trains_and_loads_again(make, kind, method, tiny_model_dir):
    if compatibility.refusal(kind, method):
        pytest.skip("refused, as another test checks")
    before = load_file(tiny_model_dir / "model.safetensors")
    folder = make(kind, method)
    train(folder)
    assert read_report(folder)["reload_check"]["ok"] and read_metrics(folder)[0]["grad_norm"] > 0
    saved = compatibility.saved_adapter(folder / "model")
    assert saved["method"] == method
    tensors = load_file(folder / "model/adapter_model.safetensors")
    assert tensors and not any(key.endswith("embed_tokens.weight") for key in tensors)
    after = load_file(tiny_model_dir / "model.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


ROLLED = [
    ("ppo", None), ("ppo", "ia3"), ("ppo", "prefix"), ("ppo", "houlsby"),
    ("grpo", None), ("grpo", "prompt"), ("rloo", "p_tuning"), ("rloo", "pfeiffer"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "method"), ROLLED)
def test_what_answers_prompts_learns_with_adapters_of_any_family(make_run, tiny_model_dir, tmp_path, kind, method):
    params = {"steps": 2, "max_new_tokens": 4, "eval_prompts": 2, "learning_rate": 0.02, "minibatch": 4}
    if kind == "ppo":
        params |= {"rollout_batch": 4, "ppo_epochs": 1, "value_warmup_steps": 0, "reward_norm": False}
    else:
        params |= {"prompts_per_step": 1, "samples": 4, "missing_eos_penalty": 0.5}
    torch.manual_seed(1)
    reward = tmp_path / "reward"
    stirred(models.load_classifier(tiny_model_dir, CPU, 0)).save_pretrained(reward)
    adapter = {"method": method} | SMALL[method] if method else None
    folder = make_run(
        kind, adapter=adapter, reference="base", reward_model=reward, prompts="prompts.jsonl", params=params
    )
    asked = [{"id": str(n), "prompt": [{"role": "user", "content": f"where is order {n}"}]} for n in range(8)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, asked)))
    train(folder)
    first, second = read_metrics(folder)
    assert first["ratio_max"] == pytest.approx(1, abs=1e-3)  # what was written is what the training pass computes
    if method not in compatibility.VIRTUAL:  # trained positions begin elsewhere than the base
        assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert second["kl3"] > 1e-9 and read_report(folder)["reload_check"]["ok"]
    assert (folder / "model/adapter_config.json").exists() == (method is not None)


def stirred(model, seed=0):
    """Trained weights moved away from where they began, so that an adapter that does nothing would show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in models.trainable(model):
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model


PAIR = ([5, 6, 7, 8], [9, 10, 11], [12, 13])


@pytest.mark.parametrize("method", compatibility.VIRTUAL)
def test_trained_positions_are_those_of_peft_in_every_kind_of_pass(method, tiny_model_dir, tmp_path):
    torch.manual_seed(0)
    adapter = Adapter(method=method, virtual_tokens=3)
    wrapped = stirred(adapters.attach(models.load_causal(tiny_model_dir, CPU), adapter, task="causal")).eval()
    wrapped.save_pretrained(tmp_path / "a")
    from peft import PeftModel

    with adapters.quiet_peft():
        plain = PeftModel.from_pretrained(models.load_causal(tiny_model_dir, CPU), tmp_path / "a").eval()
    row = PAIR[0] + PAIR[1]
    with torch.no_grad():
        logits = plain(torch.tensor([row]), attention_mask=torch.ones(1, len(row))).logits[0, -len(row) :]
        theirs = logits.log_softmax(-1)[3:6].gather(-1, torch.tensor(PAIR[1])[:, None]).sum().item()
        lm = models.core(wrapped)
        tree = forward.answer_logps(lm, forward.pack_pairs([PAIR, (PAIR[0], [9], [14] * 6)], 0, lm.device))
        apart = forward.answer_logps(lm, forward.pack_apart([PAIR, (PAIR[0], [9], [14] * 6)], 0, lm.device))
        rolled = rollout.sample(
            lm, [PAIR[0], [3, 4]], stop=[2], pad_id=0, max_new_tokens=5, samples=2,
            generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        again = forward.answer_logps(
            lm, forward.pack_answers(list(zip(rolled.prompts, rolled.answers(), strict=True)), 0, lm.device)
        )
    assert apart[0].item() == pytest.approx(theirs, abs=1e-4)
    assert torch.allclose(tree, apart, atol=1e-4)
    assert torch.allclose(rolled.logps.sum(1), again, atol=1e-4)


@pytest.mark.parametrize("method", compatibility.BOTTLENECKS)
def test_a_bottleneck_starts_as_the_identity_and_loads_again(method, tiny_model_dir, tmp_path):
    ids = torch.tensor([[5, 6, 7, 8]])
    base = models.load_causal(tiny_model_dir, CPU).eval()
    with torch.no_grad():
        bare = base(ids).logits
        wrapped = adapters.attach(base, Adapter(method=method, bottleneck=4), task="causal").eval()
        assert torch.equal(wrapped(ids).logits, bare)
        moved = stirred(wrapped)(ids).logits
    assert not torch.allclose(moved, bare)
    assert len(wrapped.weights("default")) == (16 if method == "houlsby" else 8)  # 4 tensors, 2 layers
    wrapped.save_pretrained(tmp_path / "a")
    again = models.load_policy(tiny_model_dir, tmp_path / "a", CPU)
    with torch.no_grad():
        assert torch.equal(again(ids).logits, moved)
    with pytest.raises(RunFileError, match="does not fit the base model"):
        config = json.loads((tmp_path / "a/adapter_config.json").read_text()) | {"size": 5}
        (tmp_path / "a/adapter_config.json").write_text(json.dumps(config))
        models.load_policy(tiny_model_dir, tmp_path / "a", CPU)


def test_ranks_fall_to_the_budget_and_a_stopped_run_cuts_the_very_same(make):
    params = {"max_steps": 20, "epochs": 4.0, "checkpoint_every": 0}
    whole, broken = make("sft", "adalora", "whole", params=params), make("sft", "adalora", "broken", params=params)
    train(whole)
    ranks = [row["rank"] for row in read_metrics(whole)]
    assert ranks[0] == 4.0 and ranks[-1] == pytest.approx(2.0, abs=0.1)  # two thirds of 4, whole
    assert all(later <= earlier for earlier, later in pairwise(ranks)) and len(set(ranks)) > 3
    with pytest.raises(SystemExit):
        train(broken, stop_at=8)
    train(broken)
    assert [row["rank"] for row in read_metrics(broken)] == ranks
    one, two = (load_file(folder / "model/adapter_model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(RunFileError, match="merge it"):
        compatibility.require_copy(Adapter(method="adalora", r=4), whole / "model")


@pytest.mark.parametrize("method", ["dora", "ia3", "prefix", "prompt", "houlsby"])
def test_an_adapter_goes_on_in_its_own_shape(method, tiny_model_dir, tmp_path):
    torch.manual_seed(1)
    adapter = Adapter(method=method, **SMALL[method])
    first = stirred(adapters.attach(models.load_causal(tiny_model_dir, CPU), adapter, task="causal")).eval()
    first.save_pretrained(tmp_path / "a")
    known = Adapter(**compatibility.saved_adapter(tmp_path / "a") | {"targets": "all-linear"})
    base = SharedBase(tiny_model_dir, CPU)
    base.add("default", known, start=tmp_path / "a")
    row = forward.pack_answers([PAIR[:2]], 0, base.device)
    with torch.no_grad(), base.speaking_as("default") as lm:
        assert torch.allclose(forward.answer_logps(lm, row), forward.answer_logps(models.core(first), row), atol=1e-5)
    assert models.trainable(base.lm)
    if compatibility.refusal("reward", method) is None:  # a reward model begins as the policy, with a head of its own
        scorer = models.load_classifier(tiny_model_dir, CPU, 0)
        scorer = adapters.attach(scorer, known, task="reward", start=tmp_path / "a")
        mine, theirs = (adapters.weights_of(models.core(each), "default") for each in (scorer, first))
        assert theirs and all(torch.equal(mine[key], theirs[key]) for key in theirs)
    other = "lora" if method != "lora" else "dora"
    with pytest.raises(RunFileError, match="a copy stays so"):
        base.add("again", Adapter(method=other), start=tmp_path / "a")


def test_several_adapters_of_one_family_share_a_base_and_others_are_told_apart(tiny_model_dir, tmp_path):
    for method in ("lora", "dora", "ia3"):
        adapter = Adapter(method=method, **SMALL[method])
        one = stirred(adapters.attach(models.load_causal(tiny_model_dir, CPU), adapter, task="causal"))
        one.save_pretrained(tmp_path / method)
    base = SharedBase(tiny_model_dir, CPU)
    base.load("one", tmp_path / "lora")
    base.load("two", tmp_path / "dora")
    assert base.names == {"one", "two"} and not base.holds(tmp_path / "ia3")
    row = forward.pack_answers([PAIR[:2]], 0, base.device)
    with torch.no_grad():
        for name, method in (("one", "lora"), ("two", "dora"), (None, None)):
            with base.speaking_as(name) as lm:
                alone = models.load_policy(tiny_model_dir, tmp_path / method if method else None, CPU)
                assert torch.allclose(
                    forward.answer_logps(lm, row), forward.answer_logps(models.core(alone), row), atol=1e-5
                )


def test_prompts_with_trained_positions_keep_the_account_of_lengths(tiny_model_dir):
    ids, mask = data.pad([[1, 2, 3], [4]], 0, left=True)
    adapter = Adapter(method="prompt", virtual_tokens=3)
    lm = models.core(adapters.attach(models.load_causal(tiny_model_dir, CPU), adapter, task="causal")).eval()
    with torch.no_grad():
        out = lm.base_model(input_ids=ids, attention_mask=mask, position_ids=rollout.positions(mask), use_cache=False)
        alone = lm.base_model(input_ids=torch.tensor([[4]]), use_cache=False)
    assert out.last_hidden_state.shape[1] == 3
    assert torch.allclose(out.last_hidden_state[1, -1], alone.last_hidden_state[0, -1], atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_an_adapter_on_quantised_weights_learns_on_the_processor_and_writes_what_it_computes(
    make, make_run, tiny_model_dir, tiny_snapshot, bits
):
    pytest.importorskip("bitsandbytes")
    adapter = {"method": "qlora", "r": 4, "alpha": 8, "bits": bits}
    params = {"batch_size": 8, "learning_rate": 0.01, "max_steps": 1}
    reward = make_run("reward", adapter=adapter, snapshot=tiny_snapshot, params=params)
    train(reward)
    assert read_report(reward)["reload_check"]["ok"] and read_metrics(reward)[0]["grad_norm"] > 0
    params = {"steps": 2, "rollout_batch": 4, "minibatch": 4, "max_new_tokens": 4, "eval_prompts": 0} | {
        "ppo_epochs": 1, "value_warmup_steps": 0, "learning_rate": 0.02,
    }  # fmt: skip
    folder = make_run(
        "ppo", adapter=adapter, reference="base", reward_model=reward / "model", snapshot=tiny_snapshot, params=params
    )
    train(folder)
    first, second = read_metrics(folder)
    assert first["ratio_max"] == pytest.approx(1, abs=1e-3) and first["kl"] == pytest.approx(0, abs=1e-3)
    assert second["kl3"] > 1e-9 and read_report(folder)["reload_check"]["ok"]
