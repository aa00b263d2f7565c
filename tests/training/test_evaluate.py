import json
from pathlib import Path

import pytest
import torch

from tests.training.conftest import tiny_llama, tiny_tokenizer
from tests.training.test_generate import write_prompts
from tests.training.test_policies import CPU, stir, write_reward
from training import answers, evaluate, forward, policies, runfile
from training.rundir import RunDir, read_report, read_status

PARAMS = {"max_new_tokens": 8, "batch_size": 8}


class StopsAt(RunDir):
    stop_at = 0

    def log(self, step, **metrics):
        super().log(step, **metrics)
        self.stop_requested = self.stop_requested or step == self.stop_at


def train(folder: Path, stop_at: int = 0) -> dict:
    run = StopsAt(folder)
    run.stop_at = stop_at
    with run.recorded():
        evaluate.train(runfile.read(folder / "run.json"), run)
    return read_report(folder)["eval"]["policies"]


@pytest.fixture
def adapter(tmp_path, tiny_model_dir):
    base = policies.SharedBase(tiny_model_dir, CPU)
    base.add(policies.POLICY, runfile.Adapter(r=4, alpha=8))
    stir(base.weights(policies.POLICY).values())
    base.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def make_evaluation(make_run, tiny_model_dir, adapter, tmp_path):
    def make(name: str = "evaluate", **keys) -> Path:
        tiny_llama(tiny_tokenizer(), seed=5).save_pretrained(tmp_path / "whole")
        tiny_tokenizer().save_pretrained(tmp_path / "whole")
        base = {"path": str(tiny_model_dir)}
        entries = [
            {"name": "base", "base_model": base, "adapter": None, "reference": None},
            {"name": "tuned", "base_model": base, "adapter": {"path": str(adapter)}, "reference": "base"},
            {"name": "whole", "base_model": {"path": str(tmp_path / "whole")}, "adapter": None, "reference": "tuned"},
            {"name": "itself", "base_model": base, "adapter": {"path": str(adapter)}, "reference": "tuned"},
        ]
        folder = make_run("evaluate", name, prompts="prompts.jsonl", params=PARAMS | {"policies": entries}, **keys)
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({k: v for k, v in run.items() if k != "base_model"}))
        write_prompts(folder)
        return folder

    return make


def test_two_processes_find_what_one_finds(make_evaluation, tmp_path, tiny_model_dir):
    reward = write_reward(tmp_path / "reward", tiny_model_dir)
    one = make_evaluation(reward_model=reward)
    two = make_evaluation("two", reward_model=reward, hardware={"device": "cpu", "threads": 2})
    found, same = train(one), train(two)
    assert list(same) == list(found)
    for name, figures in found.items():
        assert same[name] == pytest.approx(figures, abs=1e-5)
    texts = []
    for folder in (one, two):
        lines = (folder / "generations.jsonl").read_text().splitlines()
        texts.append([json.loads(line)["responses"][0]["text"] for line in lines])
    assert texts[0] == texts[1]


def test_every_policy_is_measured_against_its_own_reference(make_evaluation, tmp_path, tiny_model_dir):
    folder = make_evaluation(reward_model=write_reward(tmp_path / "reward", tiny_model_dir))
    found = train(folder)
    assert list(found) == ["base", "tuned", "whole", "itself"]
    assert (read_status(folder)["step"], read_status(folder)["total"]) == (12, 12)
    assert found["base"]["kl"] is None
    assert found["tuned"]["kl"] > 0.05 and found["whole"]["kl"] > 0.05
    assert found["itself"]["kl"] == pytest.approx(0, abs=1e-5)
    keys = {"reward", "length", "kl", "kl_k3", "eos_rate", "distinct_1", "distinct_2", "n"}
    assert all(set(row) == keys and row["n"] == 12 for row in found.values())
    assert {k: v for k, v in found["itself"].items() if "kl" not in k} == {
        k: v for k, v in found["tuned"].items() if "kl" not in k
    }
    lines = [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]
    assert [line["model"] for line in lines] == [name for name in found for _ in range(12)]
    for name, row in found.items():
        rewards = [r["reward"] for line in lines if line["model"] == name for r in line["responses"]]
        assert row["reward"] == pytest.approx(sum(rewards) / 12)


def test_policies_on_one_base_share_it_in_memory(make_evaluation, monkeypatch):
    loaded = []
    genuine = policies.models.load_causal
    monkeypatch.setattr(
        policies.models, "load_causal", lambda folder, *a, **k: loaded.append(folder.name) or genuine(folder, *a, **k)
    )
    train(make_evaluation())
    assert len(loaded) == 2


def test_a_stopped_evaluation_goes_on_and_ends_the_same(make_evaluation):
    one, two = make_evaluation("one"), make_evaluation("two")
    whole = train(one)
    with pytest.raises(SystemExit) as stopped:
        train(two, stop_at=2)
    assert stopped.value.code == 143
    with (two / "generations.jsonl").open("a") as file:
        file.write('{"id": "p0", "model": "whole", "prompt": [], "responses": []}\n{"id": "p1", "mo')
    assert train(two) == whole
    assert (one / "generations.jsonl").read_text() == (two / "generations.jsonl").read_text()


def test_exact_kl_equals_the_sum_over_the_vocabulary_token_by_token(adapter, tiny_model_dir):
    base = policies.SharedBase(tiny_model_dir, CPU)
    base.load("tuned", adapter)
    answered = [([5, 6, 7], [8, 9, 2]), ([10], [11])]
    batch = forward.pack_answers(answered, 0, torch.device("cpu"))
    got = answers.drift(lambda: base.speaking_as("tuned"), lambda: base.speaking_as(None), batch, temperature=2.0)
    for row, (prompt, answer) in enumerate(answered):
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            with base.speaking_as("tuned") as lm:
                own = (lm(ids).logits[0] / 2).log_softmax(-1)
            with base.speaking_as(None) as lm:
                other = (lm(ids).logits[0] / 2).log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        expected = sum((own[p].exp() * (own[p] - other[p])).sum().item() for p in places)
        assert got[row, 0].item() == pytest.approx(expected, abs=1e-4)


def test_the_mean_of_k3_over_many_answers_is_the_exact_kl(adapter, tiny_model_dir):
    base = policies.SharedBase(tiny_model_dir, CPU)
    base.load("tuned", adapter)
    prompt = answers.Prompt("a", [], [5, 6, 7])
    written = answers.write(base, "tuned", [prompt], tiny_tokenizer(), seed=0, max_new_tokens=4, samples=2000)
    batch = forward.pack_answers([each.answered for each in written], 0, torch.device("cpu"))
    exact, k3 = (
        answers.drift(lambda: base.speaking_as("tuned"), lambda: base.speaking_as(None), batch, temperature=1.0)
        .mean(dim=0)
        .tolist()
    )
    assert k3 == pytest.approx(exact, rel=0.1)


def test_distinct_counts_different_n_grams():
    assert answers.distinct([[1, 2, 1], [1, 2]], 1) == pytest.approx(2 / 5)
    assert answers.distinct([[1, 2, 1], [1, 2]], 2) == pytest.approx(2 / 3)
    assert answers.distinct([[1]], 2) == 0
