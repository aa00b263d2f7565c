"""Reward models from rankings and from ratings, and ensembles: losses by hand, whole runs, and what uses them."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import LORA, assistant, question, user, write_snapshot
from tests.training.test_sft import run_here
from training import ensembles, heads, models, reward_figures, runfile
from training.heads import Heads
from training.policies import SeparateScorer, SharedBase, load_scorer
from training.reward_losses import all_pairs_loss, plackett_luce_loss, preference_loss, rating_losses
from training.reward_objectives import OBJECTIVES
from training.reward_rows import Pair
from training.rundir import read_metrics, read_report, read_status
from training.runfile import Hardware, RunFileError

CPU = Hardware(device="cpu", threads=1)
QUICK = {"epochs": 5, "batch_size": 8, "learning_rate": 5e-3, "max_length": 160, "checkpoint_every": 0}


def ranked(count: int, first: int = 0) -> list[dict]:
    """Thanks before apologies before money; the order in which the answers stand says nothing."""
    rows = []
    for n in range(first, first + count):
        texts = [f"{word}, {question(n + place)}" for place, word in enumerate(("thank you", "sorry", "money"))]
        order = [n % 3, (n + 1) % 3, (n + 2) % 3]
        rows.append(
            {
                "prompt": [user(question(n))],
                "responses": [texts[place] for place in order],
                "ranks": [float(place + 1) for place in order],
                "agreement": 0.9,
                "weight": 1.0,
                "task_id": n,
            }
        )
    return rows


def rated(count: int, first: int = 0) -> list[dict]:
    """Thanks are kind, and money brief; every fifth row lacks one rating."""
    rows = []
    for n in range(first, first + count):
        kind = n % 2 == 0
        text = f"{'thank you' if kind else 'money'}, {question(n + 1)}"
        ratings = {"kind": 5.0 if kind else 1.0, "brief": None if n % 5 == 0 else 2.0 if kind else 4.0}
        rows.append({"prompt": [user(question(n // 2))], "completion": [assistant(text)]} | ratings)
    return rows


@pytest.fixture(scope="module")
def ranking_snapshot(tmp_path_factory) -> Path:
    return write_snapshot(tmp_path_factory.mktemp("s") / "ranking", "ranking", ranked(24), ranked(8, first=60))


@pytest.fixture(scope="module")
def rating_snapshot(tmp_path_factory) -> Path:
    return write_snapshot(tmp_path_factory.mktemp("s") / "rating", "rating", rated(40), rated(16, first=101))


def nll(lead: float) -> float:
    return math.log1p(math.exp(-lead))


def test_losses_of_a_ranking_by_hand():
    scores, ranks = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([3.0, 1.0, 2.0])
    pairs = (nll(1.0) + nll(1.5) + nll(0.5)) / 3
    assert all_pairs_loss(scores, ranks).item() == pytest.approx(pairs)
    flipped = (nll(-1.0) + nll(-1.5) + nll(-0.5)) / 3
    assert all_pairs_loss(scores, ranks, label_smoothing=0.1).item() == pytest.approx(0.9 * pairs + 0.1 * flipped)
    first = math.log(sum(map(math.exp, (0.5, 2.0, 1.0)))) - 2.0
    assert plackett_luce_loss(scores, ranks).item() == pytest.approx((first + nll(0.5)) / 2)
    two = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])
    assert all_pairs_loss(*two).item() == pytest.approx(plackett_luce_loss(*two).item())
    assert all_pairs_loss(scores, torch.tensor([2.0, 1.0, 2.0])).item() == pytest.approx((nll(1.0) + nll(1.5)) / 2)
    tied = torch.tensor([1.0, -1.0], requires_grad=True)
    plackett_luce_loss(tied, torch.ones(2)).backward()
    assert tied.grad[0] > 0 > tied.grad[1]


def test_losses_of_ratings_by_hand():
    outputs = torch.tensor([[1.0, 2.0]])
    assert rating_losses(outputs, torch.tensor([[0.5, math.nan]]), kind="mse").tolist() == [[0.25, 0.0]]
    found = rating_losses(outputs, torch.tensor([[0.25, math.nan]]), kind="bce")
    assert found[0, 0].item() == pytest.approx(0.25 * nll(1.0) + 0.75 * nll(-1.0)) and found[0, 1] == 0


def test_outputs_become_one_score():
    both = Heads(2, ("kind", "brief"), (0.75, 0.25), (3.0, 2.0), (2.0, 1.0))
    outputs = torch.tensor([[1.0, 0.0, 0.0, 4.0]])
    members = [0.75 * 5 + 0.25 * 2, 0.75 * 3 + 0.25 * 6]
    mean, deviation = sum(members) / 2, abs(members[0] - members[1]) / 2
    assert both.member_scores(outputs)[0].tolist() == pytest.approx(members)
    assert both.scores(outputs).item() == pytest.approx(mean)
    assert both.scores(outputs, caution=2.0).item() == pytest.approx(mean - 2 * deviation)
    weight, bias, hidden = torch.randn(4, 3), torch.randn(4), torch.randn(5, 3)
    row, fixed = both.linear(weight, bias)
    assert torch.allclose((hidden @ row.T + fixed)[:, 0], both.scores(hidden @ weight.T + bias), atol=1e-5)
    assert torch.equal(Heads().scores(outputs[:, :1]), outputs[:, 0])
    own = both.own_weights(2000, seed=3)
    assert torch.equal(own, both.own_weights(2000, seed=3)) and own.mean().item() == pytest.approx(1, abs=0.1)


def test_weights_of_aspects_are_read_or_refused():
    names = ("kind", "brief")
    assert heads.aspect_weights("", names) == (0.5, 0.5)
    assert heads.aspect_weights("kind=0.7, brief = -0.4", names) == (0.7, -0.4)
    for text, message in (
        ("kind", "must look like"),
        ("loud=1", "names 'loud'"),
        ("kind=x", "must"),
        ("kind=0", "zero"),
    ):
        with pytest.raises(RunFileError, match=message):
            heads.aspect_weights(text, names)


@pytest.mark.parametrize("loss", ["all_pairs", "plackett_luce"])
def test_a_ranking_is_learnt_as_one_row(make_run, ranking_snapshot, loss):
    folder = make_run("reward", adapter=LORA, snapshot=ranking_snapshot, params=QUICK | {"ranking_loss": loss})
    assert run_here(folder) == 0
    report = read_report(folder)
    assert report["eval"]["accuracy"]["value"] > 0.9 and report["eval"]["accuracy"]["n"] == 8  # prompts, not pairs
    assert report["rows"]["train"]["used"] == 24 and sum(row["n"] for row in report["eval"]["calibration"]) == 24
    assert report["reload_check"]["ok"] and "accuracy" in read_metrics(folder)[0]


def test_rankings_take_one_softness_and_say_what_they_cannot_use(make_run, ranking_snapshot, tmp_path):
    params = QUICK | {"max_steps": 1, "center_coefficient": 0.0, "labels": "agreement"}
    folder = make_run("reward", adapter=LORA, snapshot=ranking_snapshot, params=params)
    assert run_here(folder) == 0
    refused = params | {"ranking_loss": "plackett_luce"}
    assert run_here(make_run("reward", "r", adapter=LORA, snapshot=ranking_snapshot, params=refused)) == 2
    assert "params.labels has no meaning for plackett_luce" in read_status(tmp_path / "r")["error"]["message"]
    rows = ranked(6)
    rows[0]["ranks"] = [1.0, 1.0, 1.0]
    rows[1] |= {"responses": ["one"], "ranks": [1.0]}
    snapshot = write_snapshot(tmp_path / "s", "ranking", rows, [])
    params = QUICK | {"max_steps": 1, "max_dropped_share": 0.5}
    folder = make_run("reward", "odd", adapter=LORA, snapshot=snapshot, params=params)
    assert run_here(folder) == 0
    dropped = read_report(folder)["rows"]["train"]["dropped"]
    assert dropped == {"all_answers_tie": 1, "fewer_than_two_placed_answers": 1}


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_every_aspect_has_a_head_and_their_weights_make_the_score(make_run, rating_snapshot, loss):
    params = QUICK | {"epochs": 8, "rating_loss": loss, "aspect_weights": "kind=1, brief=0.5"}
    folder = make_run("reward", adapter=LORA, snapshot=rating_snapshot, params=params)
    assert run_here(folder) == 0
    report, card = read_report(folder), json.loads((folder / "model/hone.json").read_text())
    found = report["eval"]["aspects"]
    assert found["kind"]["n"] == 16 and found["brief"]["n"] == 13
    assert all(each["squared_error"] < 0.5 * each["of_the_mean"] for each in found.values())
    assert all(each["correlation"] > 0.8 for each in found.values())
    assert card["heads"]["aspects"] == ["kind", "brief"] and card["heads"]["weights"] == [1.0, 0.5]
    assert report["eval"]["accuracy"]["value"] == 1.0  # kind answers are worth more: 5 + 1 against 1 + 2
    assert Heads.of(folder / "model").outputs == 2


@pytest.fixture(scope="module", params=["heads", "adapters"])
def ensemble(request, tmp_path_factory, tiny_model_dir, tiny_snapshot) -> Path:
    """A reward model of three members, trained for a few steps."""
    folder = tmp_path_factory.mktemp("ensemble")
    params = QUICK | {"max_steps": 2, "members": 3, "ensemble": request.param}
    data = {"kind": "reward", "adapter": LORA, "params": params, "hardware": {"device": "cpu", "threads": 1}}
    data |= {"base_model": {"path": str(tiny_model_dir)}, "snapshot": {"path": str(tiny_snapshot)}}
    (folder / "run.json").write_text(json.dumps(data))
    with pytest.MonkeyPatch.context() as alone:
        alone.delenv("HONE_DATA", raising=False)
        assert run_here(folder) == 0, (folder / "log.txt").read_text()
    return folder


def test_an_ensemble_says_where_it_is_in_doubt_and_caution_lowers_its_score(ensemble, tiny_model_dir):
    found = read_report(ensemble)["eval"]["ensemble"]
    assert found["members"] == 3 and 0 <= found["split"] <= 1
    tokenizer = models.load_tokenizer(runfile.read(ensemble / "run.json"), ensemble)
    answered = [([5, 6, 7], [8, 9, 2]), ([11, 12], [13, 2])]
    loaded = [load_scorer(ensemble / "model", SharedBase(tiny_model_dir, CPU), tiny_model_dir, CPU, tokenizer, caution)
              for caution in (0.0, 1.0)]  # fmt: skip
    plain, careful = (scorer.score(answered, 0) for scorer in loaded)
    assert (careful < plain).all()
    apart = Heads.of(ensemble / "model").apart
    alone = models.load_reward(ensemble / "model", tiny_model_dir, CPU, 0)
    with torch.no_grad():
        spoken = []
        for name in ensembles.names(3) if apart else [None]:
            if name:
                alone.set_adapter(name)  # as any user of PEFT
            spoken.append(alone(torch.tensor([[5, 6, 7, 8, 9, 2]])).logits)
    logits = torch.cat(spoken, dim=1)
    separate = SeparateScorer(alone, Heads.of(ensemble / "model"), 1.0)
    assert torch.allclose(separate.score(answered, 0), careful, atol=1e-5)
    assert logits.shape == (1, 3) and plain[0].item() == pytest.approx(logits.mean().item(), abs=1e-5)
    spread = logits.std(correction=0).item()
    assert careful[0].item() == pytest.approx(logits.mean().item() - spread, abs=1e-5)


def test_a_policy_is_paid_what_a_cautious_ensemble_grants(make_run, ensemble, tmp_path):
    asked = "\n".join(json.dumps({"id": str(n), "prompt": [user(question(n))]}) for n in range(4))
    small = {"max_new_tokens": 4, "caution": 1.0}
    groups = {"steps": 1, "prompts_per_step": 1, "samples": 2, "minibatch": 2, "eval_prompts": 0}
    ppo = {
        "steps": 1,
        "rollout_batch": 2,
        "minibatch": 2,
        "eval_prompts": 0,
        "value_warmup_steps": 0,
        "reward_norm": False,
    }
    runs = (("ppo", ppo), ("best_of_n", {"samples": 2}), ("grpo", groups))
    for kind, params in runs[:1] if Heads.of(ensemble / "model").apart else runs:
        keys = {} if kind == "best_of_n" else {"adapter": LORA, "reference": "base"}
        folder = make_run(kind, reward_model=ensemble / "model", prompts="prompts.jsonl", params=params | small, **keys)
        (folder / "prompts.jsonl").write_text(asked)
        assert run_here(folder) == 0, (folder / "log.txt").read_text()
    if Heads.of(ensemble / "model").apart:
        return  # the rest is about a model of one member
    single = tmp_path / "single"
    models.load_classifier(runfile.read(ensemble / "run.json").base_model.path, CPU, 0).save_pretrained(single)
    folder = make_run("best_of_n", "refused", reward_model=single, prompts="prompts.jsonl", params=small)
    (folder / "prompts.jsonl").write_text(asked)
    assert run_here(folder) == 2
    assert "params.caution needs a reward model with several members" in read_status(folder)["error"]["message"]


def test_members_with_adapters_of_their_own_all_learn_and_go_on(make_run, tiny_snapshot, tiny_model_dir):
    params = QUICK | {"max_steps": 1, "members": 2, "ensemble": "adapters"}
    folder = make_run("reward", "two", adapter={"method": "ia3"}, snapshot=tiny_snapshot, params=params)
    assert run_here(folder) == 0, (folder / "log.txt").read_text()
    one, two = (load_file(place / "adapter_model.safetensors") for place in ensembles.folders(folder / "model", 2))
    assert one.keys() == two.keys() and not any(torch.equal(one[key], two[key]) for key in one if "score" in key)
    moved = [any((each[key] != 1).any() for key in each if "ia3" in key) for each in (one, two)]  # IA3 begins with ones
    assert moved == [True, True]
    before = runfile.model_hash(folder / "model")
    goes_on = {"adapter": {"method": "ia3"}, "start_adapter": folder / "model", "snapshot": tiny_snapshot}
    still = params | {"learning_rate": 1e-8}
    again = make_run("reward", "again", params=still, **goes_on)
    assert run_here(again) == 0, (again / "log.txt").read_text()
    for place, saved in zip(ensembles.folders(again / "model", 2), (one, two), strict=True):
        found = load_file(place / "adapter_model.safetensors")
        assert all(torch.allclose(found[key], saved[key], atol=1e-6) for key in saved)
    assert run_here(make_run("reward", "three", params=params | {"members": 3}, **goes_on)) == 2
    error = read_status(again.with_name("three"))["error"]["message"]
    assert "start_adapter.path holds an ensemble of 2 adapters, and this run trains 3" in error
    second = folder / "model/member-2/adapter_model.safetensors"
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    assert runfile.model_hash(folder / "model") != before  # no member can be exchanged unseen


@pytest.mark.parametrize(
    ("adapter", "members", "message"),
    [
        (None, 2, "adapter is required for an ensemble of adapters"),
        ({"method": "adalora"}, 2, "cannot be adalora in an ensemble of adapters: .* works is rslora"),
        ({"method": "houlsby"}, 2, "cannot be houlsby in an ensemble of adapters: .* works is lora"),
        ({"method": "lora"}, 1, "params.members must be 2 or more"),
    ],
)
def test_what_no_ensemble_of_adapters_can_be_is_refused(adapter, members, message):
    data = {"kind": "reward", "base_model": {"path": "m"}, "snapshot": {"path": "s"}, "adapter": adapter}
    with pytest.raises(RunFileError, match=message):
        runfile.check(data | {"params": {"members": members, "ensemble": "adapters"}})


def test_what_no_reward_can_be_learnt_from_is_refused_in_words(make_run, binary_snapshot, demonstration_snapshot):
    for name, snapshot in (("binary", binary_snapshot), ("sft", demonstration_snapshot)):
        folder = make_run("reward", name, adapter=LORA, snapshot=snapshot)
        assert run_here(folder) == 1
        error = read_status(folder)["error"]
        assert error["code"] == "data" and "no reward can be learnt from them" in error["message"]
        assert "ranking rows" in error["hint"]


def test_members_that_agree_are_told_from_those_that_do_not():
    found = reward_figures.agreement([[1.0, 2.0], [1.0, -1.0], [-1.0, -2.0], [3.0, 1.0]])
    assert found["split"] == 0.25 and found["sure"]["value"] == pytest.approx(2 / 3) and found["sure"]["n"] == 3


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("preference", {"ranking_loss": "plackett_luce"}, "params.ranking_loss has no meaning for pairs"),
        ("preference", {"aspect_weights": "kind=1"}, "params.aspect_weights has no meaning for pairs"),
        ("ranking", {"per_prompt": True}, "params.per_prompt has no meaning for rankings"),
        ("ranking", {"margin": True}, "params.margin has no meaning for rankings"),
        ("rating", {"labels": "agreement"}, "params.labels has no meaning for rated answers"),
        ("rating", {"label_smoothing": 0.1}, "params.label_smoothing has no meaning for rated answers"),
        ("rating", {"center_coefficient": 0.1}, "params.center_coefficient has no meaning for rated answers"),
    ],
)
def test_a_setting_for_other_rows_is_refused(kind, params, message):
    config = runfile.check({"kind": "reward", "base_model": {"path": "m"}, "snapshot": {"path": "s"}, "params": params})
    with pytest.raises(RunFileError, match=message):
        OBJECTIVES[kind](config, [], ())


def test_parts_of_a_batch_add_up_to_its_loss():
    config = runfile.check(
        {"kind": "reward", "base_model": {"path": "m"}, "snapshot": {"path": "s"}, "params": {"members": 2}}
    )
    pairs = [Pair(([5], [6, 2], [7, 2]), 0.0, 1.0 + n, (1, 1), False, str(n)) for n in range(4)]
    objective = OBJECTIVES["preference"](config, pairs, ())
    outputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    whole, leads = objective.loss(outputs, [0, 1, 2, 3], [0, 1, 2, 3])
    first, _ = objective.loss(outputs[:4], [0, 1], [0, 1, 2, 3])
    second, _ = objective.loss(outputs[4:], [2, 3], [0, 1, 2, 3])
    assert (first + second).item() == pytest.approx(whole.item(), rel=1e-6)
    chosen, rejected = outputs[0::2], outputs[1::2]
    by_hand = [
        preference_loss(
            chosen[:, member], rejected[:, member], margin=torch.zeros(4), weight=objective.minds[:, member],
            label_smoothing=0.0, center=0.01,
        ).item()
        for member in range(2)
    ]  # fmt: skip
    assert whole.item() == pytest.approx(sum(by_hand) / 2, rel=1e-5) and leads[0] == pytest.approx(
        (chosen - rejected)[0].mean().item()
    )


def test_an_answer_to_another_prompt_is_learnt_like_a_pair_of_its_own():
    given = {"kind": "reward", "base_model": {"path": "m"}, "snapshot": {"path": "s"}}
    config = runfile.check(given | {"params": {"margin": True, "label_smoothing": 0.1}})
    judged = Pair(([5], [6, 2], [7, 2]), 2.0, 3.0, (1, 1), False, "0", doubt=0.2)
    other = Pair(([6], [8, 2], [9, 2]), 1.0, 1.0, (1, 1), False, "1")
    beside = Pair(([5], [6, 2], [8, 2]), 0.0, 3.0, (1, 1), False, "0")
    a, b, c, d, e = torch.randn(5, 1, generator=torch.Generator().manual_seed(1))
    together = OBJECTIVES["preference"](config, [dataclasses.replace(judged, elsewhere=[8, 2]), other], ())
    apart = OBJECTIVES["preference"](config, [judged, beside, other], ())
    loss, leads = together.loss(torch.stack([a, b, c, d, e]), [0, 1], [0, 1])
    same, each = apart.loss(torch.stack([a, b, a, c, d, e]), [0, 1, 2], [0, 1, 2])
    assert loss.item() == pytest.approx(same.item(), rel=1e-6) and leads == pytest.approx(each)
