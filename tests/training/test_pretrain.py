import json
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.training.engine import Engine
from training import corpus, data, models, pretrain, runfile
from training.data import DataError, RowAccount
from training.params import Pretrain
from training.rundir import RunDir, read_metrics, read_report, read_status

SMALL = {
    "max_minutes": None,
    "max_steps": 8,
    "vocab_size": 300,
    "hidden_size": 32,
    "layers": 2,
    "heads": 2,
    "context": 64,
    "batch_size": 4,
    "checkpoint_every": 4,
}


def conversations(count):
    return [
        {
            "messages": [
                {"role": "user", "content": f"Where is parcel {n}?"},
                {"role": "assistant", "content": "On its way." if n % 2 else "Sorry, it is late."},
            ]
        }
        for n in range(count)
    ]


def run_directory(path, records=None, **params):
    path.mkdir(parents=True)
    lines = [json.dumps(record) for record in (conversations(60) if records is None else records)]
    (path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    hardware = {"device": "cpu", "threads": 1}
    run = {"schema": 1, "kind": "pretrain", "name": "base", "seed": 3, "params": SMALL | params, "hardware": hardware}
    runfile.write(path / "run.json", run)
    return path


def train(path):
    run = RunDir(path)
    with run.recorded():
        pretrain.train(runfile.read(path / "run.json"), run)
    return path


@pytest.fixture
def tokenizer():
    return corpus.train_tokenizer(conversations(60), 300, 64)


def test_padding_begin_and_end_are_three_tokens_and_every_text_survives_the_round_trip(tokenizer):
    assert len({tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}) == 3
    for text in ("Where is parcel 7?", "naïve — 日本\n\ttabs", "  spaces  "):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_prompt_is_a_prefix_of_the_conversation_and_the_answer_ends_once(tokenizer):
    tokenizer.hone_adds_bos = False
    prompt, answer = conversations(1)[0]["messages"]
    ids, answered = data.Encoder(tokenizer).pair([prompt], [answer])
    assert ids == data.encode_prompt(tokenizer, [prompt])
    assert ids[0] == tokenizer.bos_token_id and answered.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids).endswith("<|assistant|>")


def test_a_role_that_the_template_does_not_know_is_refused(tokenizer):
    with pytest.raises(Exception, match="roles system, user and assistant"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_packing_keeps_every_text_whole_and_learns_neither_padding_nor_the_first_token():
    texts = [list(range(1, n + 1)) for n in (5, 3, 8, 2, 7)]
    windows = corpus.pack(texts, 10, pad_id=0)
    assert windows.ids.tolist() == [
        [1, 2, 3, 4, 5, 6, 7, 8, 1, 2],
        [1, 2, 3, 4, 5, 6, 7, 1, 2, 3],
        [1, 2, 3, 4, 5, 0, 0, 0, 0, 0],
    ]
    assert windows.positions[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    learnt = windows.labels != corpus.IGNORED
    assert int(learnt.sum()) == sum(len(text) - 1 for text in texts)
    assert torch.equal(windows.labels[learnt], windows.ids[learnt])


def test_a_packed_text_does_not_see_its_neighbours(tokenizer):
    torch.manual_seed(0)
    model = pretrain.new_model(Pretrain(**SMALL), tokenizer).eval()
    texts = [[7, 8, 9, 10, 11, 12], [20, 21, 22, 23], [30, 31, 32]]
    packed = pretrain.logits_of(model, corpus.pack(texts, 16, pad_id=0))[0]
    start = 0
    for text in texts:
        alone = model(input_ids=torch.tensor([text])).logits[0]
        assert torch.allclose(packed[start : start + len(text)], alone, atol=1e-5)
        start += len(text)


def test_every_window_is_seen_once_an_epoch():
    rows = [row for step in range(5) for row in pretrain.batch_rows(10, 4, step, seed=1)]
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10] != rows[10:]


def test_the_learning_rate_rises_and_falls_and_the_nearer_limit_ends_the_run():
    rates = [pretrain.schedule(done / 100, 0.1) for done in range(101)]
    assert max(rates) == pytest.approx(1) and rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(pretrain.FINAL_RATE) and rates[0] > 0
    both = Pretrain(max_steps=10, max_minutes=1.0)
    assert pretrain.share_done(both, 5, 12.0) == 0.5
    assert pretrain.share_done(both, 1, 60.0) == 1.0


@pytest.mark.parametrize(
    "line", ['{"messages": []}', '{"text": ""}', "[1]", "not json", '{"messages": [{"role": "tool", "content": "x"}]}']
)
def test_a_bad_line_of_the_corpus_is_named(tmp_path, line):
    (tmp_path / "corpus.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"Line 2 of corpus\.jsonl"):
        corpus.read_corpus(tmp_path / "corpus.jsonl")


def test_texts_that_do_not_fit_or_hold_control_tokens_are_counted(tokenizer):
    account = RowAccount("train")
    records = [*conversations(3), {"text": "word " * 400}, {"text": "a <|eos|> inside"}, {"text": "plain"}]
    assert len(corpus.encode(records, tokenizer, 64, account)) == 4
    assert account.as_dict()["dropped"] == {"control_token_in_text": 1, "too_long": 1}


@pytest.mark.slow
def test_a_run_learns_and_leaves_a_plain_model_with_its_tokenizer_and_template(tmp_path):
    path = train(run_directory(tmp_path / "run", max_steps=30))
    losses = [row["loss"] for row in read_metrics(path)]
    assert losses[-1] < losses[0] - 1
    report = read_report(path)
    assert report["reload_check"]["ok"] and report["rows"]["train"]["used"] == 60 and report["steps"] == 30
    config = runfile.check({"kind": "generate", "base_model": {"path": str(path / "model")}, "prompts": "p.jsonl"})
    tokenizer = models.load_tokenizer(config, path)
    assert tokenizer.chat_template and not tokenizer.hone_adds_bos
    model = models.load_causal(path / "model", config.hardware)
    assert model.config.vocab_size == len(tokenizer)
    assert json.loads((path / "model" / "hone.json").read_text())["role"] == "policy"


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_very_weights_of_an_unbroken_one(tmp_path, monkeypatch):
    unbroken = train(run_directory(tmp_path / "unbroken"))
    broken = run_directory(tmp_path / "broken")
    progress = pretrain.share_done
    monkeypatch.setattr(
        pretrain, "share_done", lambda params, step, spent: _power_cut(step) or progress(params, step, spent)
    )
    with pytest.raises(SystemExit):
        train(broken)
    assert read_status(broken)["checkpoint"] == 4 and not (broken / "model").exists()
    monkeypatch.setattr(pretrain, "share_done", progress)
    train(broken)
    expected, found = (load_file(path / "model" / "model.safetensors") for path in (unbroken, broken))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def _power_cut(step):
    if step == 6:
        raise RuntimeError("power cut")


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_exit_code_143(tmp_path):
    path = run_directory(tmp_path / "run", max_steps=1_000_000, checkpoint_every=0)
    process = Engine(path)
    while not read_metrics(path):
        assert process.poll() is None, process.ended()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.ended()[0] == 143
    status = read_status(path)
    assert status["state"] == "cancelled" and status["checkpoint"] == read_metrics(path)[-1]["step"]
