import json
from pathlib import Path

import pytest
import torch

from tests.training.conftest import assistant, question, user
from tests.training.test_policies import CPU, stir, write_reward
from training import answers, generate, models, policies, prompts, runfile
from training.data import DataError
from training.rundir import RunDir, read_report, read_status

PARAMS = {"max_new_tokens": 8, "batch_size": 8, "responses_per_prompt": 2}


class StopsAt(RunDir):
    stop_at = 0

    def log(self, step, **metrics):
        super().log(step, **metrics)
        self.stop_requested = self.stop_requested or step == self.stop_at


def train(folder: Path, stop_at: int = 0) -> list[dict]:
    run = StopsAt(folder)
    run.stop_at = stop_at
    with run.recorded():
        generate.train(runfile.read(folder / "run.json"), run)
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]


def write_prompts(folder: Path, count: int = 12) -> list[dict]:
    rows = [{"id": f"p{n}", "prompt": [user(question(n))]} for n in range(count)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return rows


def test_every_prompt_gets_its_answers_in_order(make_run):
    folder = make_run("generate", prompts="prompts.jsonl", params=PARAMS)
    asked = write_prompts(folder)
    rows = train(folder)
    assert [row["id"] for row in rows] == [row["id"] for row in asked]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in asked]
    assert all(row["model"] == "generate" and len(row["responses"]) == 2 for row in rows)
    first = rows[0]["responses"][0]
    assert set(first) == {"text", "tokens", "finish", "logprob"} and first["finish"] in ("eos", "length")
    assert any(row["responses"][0]["text"] != row["responses"][1]["text"] for row in rows)
    report = read_report(folder)
    assert report["eval"]["n"] == 24 and report["rows"]["train"]["used"] == 12
    assert (
        report["warnings"] == ["100% of the answers were cut off: raise params.max_new_tokens."]
        or report["eval"]["eos_rate"] > 0
    )


def test_the_same_seed_gives_the_same_file_even_after_a_stop_and_a_cut_line(make_run):
    folders = [make_run("generate", name, prompts="prompts.jsonl", params=PARAMS) for name in ("one", "two")]
    for folder in folders:
        write_prompts(folder)
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(run | {"name": "same"}))
    whole = train(folders[0])
    with pytest.raises(SystemExit) as stopped:
        train(folders[1], stop_at=2)
    assert stopped.value.code == 143
    file = folders[1] / "generations.jsonl"
    assert len(file.read_text().splitlines()) == 8
    file.write_text(file.read_text()[:-30])
    assert train(folders[1]) == whole


def test_one_id_for_two_prompts_is_refused(make_run):
    folder = make_run("generate", prompts="prompts.jsonl", params=PARAMS)
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"id": 1, "prompt": text}) + "\n" for text in "aab"))
    with pytest.raises(SystemExit):
        train(folder)
    assert read_status(folder)["error"]["message"] == "The id 1 stands for two different prompts."


def test_two_cores_write_the_file_that_one_writes(make_run):
    files = []
    for threads in (1, 2):
        folder = make_run("generate", f"with-{threads}", prompts="prompts.jsonl", params=PARAMS)
        write_prompts(folder)
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(run | {"name": "same", "hardware": {"threads": threads}}))
        files.append(train(folder))
    told = [[(row["id"], [response["text"] for response in row["responses"]]) for row in file] for file in files]
    assert told[0] == told[1] and read_status(folder)["step"] == 12


def test_answers_of_an_adapter_are_scored_by_a_reward_model(make_run, tiny_model_dir, tmp_path):
    base = policies.SharedBase(tiny_model_dir, CPU)
    base.add(policies.POLICY, runfile.Adapter(r=4, alpha=8))
    stir(base.weights(policies.POLICY).values())
    base.save_pretrained(tmp_path / "policy")
    reward = write_reward(tmp_path / "reward", tiny_model_dir)
    folder = make_run(
        "generate", prompts="prompts.jsonl", params=PARAMS, start_adapter=tmp_path / "policy", reward_model=reward
    )
    asked = write_prompts(folder)
    rows = train(folder)
    classifier = models.load_reward(reward, tiny_model_dir, CPU, 0)
    tokenizer = models.load_tokenizer(runfile.read(folder / "run.json"), folder)
    [prompt] = [
        p
        for p in prompts.load(runfile.read(folder / "run.json"), folder, tokenizer, "train", context=None)[0]
        if p.id == "p0"
    ]
    [first, _] = answers.write(base, policies.POLICY, [prompt], tokenizer, seed=3, samples=2, max_new_tokens=8)
    assert first.prompt.messages == asked[0]["prompt"]
    with torch.no_grad():
        expected = classifier(torch.tensor([first.prompt.ids + first.ids])).logits.item()
    scorer = policies.load_scorer(reward, base, tiny_model_dir, CPU, tokenizer)
    assert answers.scores(scorer, [first.answered], 8, 0).item() == pytest.approx(expected, abs=1e-4)
    assert all(isinstance(response["reward"], float) for row in rows for response in row["responses"])
    assert read_report(folder)["eval"]["reward"] == pytest.approx(
        sum(r["reward"] for row in rows for r in row["responses"]) / 24
    )


def test_prompts_of_a_snapshot_are_asked_once_each_up_to_the_limit(make_run, demonstration_snapshot):
    folder = make_run("generate", snapshot=demonstration_snapshot, params=PARAMS | {"split": "eval", "limit": 5})
    assert len(train(folder)) == 5


def test_a_bad_line_is_named(make_run):
    folder = make_run("generate", prompts="prompts.jsonl", params=PARAMS)
    (folder / "prompts.jsonl").write_text('{"id": "a", "prompt": "plain text is one message"}\n{"id": "b"}\n')
    with pytest.raises(SystemExit):
        train(folder)
    assert "prompts.jsonl line 2" in read_status(folder)["error"]["message"]


def test_long_repeated_and_unusable_prompts_are_left_out_and_counted(make_run):
    limits = {"max_dropped_share": 0.5, "max_prompt_length": 100}
    folder = make_run("generate", prompts="prompts.jsonl", params=PARAMS | limits)
    config = runfile.read(folder / "run.json")
    tokenizer = models.load_tokenizer(config, folder)
    found = [
        ("a", [user("where is my parcel")]),
        ("b", [user("where is my parcel")]),
        ("c", [user("where " * 200)]),
        ("d", [user("hi"), assistant("hello")]),
    ]
    kept, account = prompts.usable(found, "train", tokenizer, config.params, context=64)
    assert [prompt.id for prompt in kept] == ["a"]
    reasons = {"repeated_prompt": 1, "too_long": 1, "prompt_does_not_end_with_a_question": 1}
    assert account.as_dict() == {"read": 4, "used": 1, "truncated": 0, "dropped": reasons}
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"id": i, "prompt": p}) + "\n" for i, p in found))
    with pytest.raises(DataError, match="2 of 3") as refused:  # a copy is no loss
        prompts.load(config, folder, tokenizer, "train", context=64)
    assert refused.value.hint.startswith("Lower params.max_new_tokens, which the prompt leaves room for")
    with pytest.raises(DataError, match="2 of 3") as refused:
        prompts.load(config, folder, tokenizer, "train", context=None)
    assert refused.value.hint.startswith("Raise params.max_prompt_length")
    with pytest.raises(DataError, match=r"the model holds 8 tokens, and params\.max_new_tokens keeps"):
        prompts.load(config, folder, tokenizer, "train", context=8)
