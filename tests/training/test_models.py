import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.training.conftest import assistant, tiny_llama, tiny_tokenizer, user
from training import adapters, data, models, runfile
from training.rundir import RunDir
from training.runfile import Adapter, Hardware, RunFileError

CPU = Hardware(device="cpu", threads=1)
ROWS = [[5, 6, 7, 8, 2], [9, 10, 2]]


def config_of(folder: Path, **keys: object) -> runfile.RunFile:
    data = {"kind": "sft", "base_model": {"path": str(folder)}, "snapshot": {"path": "s"}}
    return runfile.check(data | keys)


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to spoil."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def change_tokenizer(folder: Path, **values: object) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_padding_is_never_the_end_token(folder: Path) -> None:
    change_tokenizer(folder, pad_token="<|im_end|>")
    tokenizer = models.load_tokenizer(config_of(folder), folder)
    assert tokenizer.pad_token == "<|pad|>"  # known by its name
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_spare_row_of_the_embedding_can_become_the_padding(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    text = tokenizer.backend_tokenizer.to_str().replace("<|pad|>", "<|was|>")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    change_tokenizer(tmp_path, pad_token=None)
    for spare, expected in ((0, None), (8, len(tokenizer))):
        (tmp_path / "config.json").write_text(json.dumps({"vocab_size": len(tokenizer) + spare}))
        if expected is None:
            with pytest.raises(RunFileError, match="add a pad token"):
                models.load_tokenizer(config_of(tmp_path), tmp_path)
        else:
            assert models.load_tokenizer(config_of(tmp_path), tmp_path).pad_token_id == expected


def test_a_missing_chat_template_is_not_guessed(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(RunFileError, match="template is required"):
        models.load_tokenizer(config_of(folder), tmp_path)
    plain = models.load_tokenizer(config_of(folder, template="plain"), tmp_path)
    assert plain.apply_chat_template([user("a "), assistant("b")], tokenize=False) == "a b<|im_end|>"
    assert plain.apply_chat_template([user("a"), assistant("b"), user("c")], tokenize=False) == "a\n\nb\n\nc"
    (tmp_path / "mine.jinja").write_text("{{ messages[0]['content'] }}!")
    mine = models.load_tokenizer(config_of(folder, template="mine.jinja"), tmp_path)
    assert mine.apply_chat_template([user("a")], tokenize=False) == "a!"
    (tmp_path / "mine.jinja").write_text("{% for message in messages %}{{ message }")
    with pytest.raises(RunFileError, match="template is no Jinja template"):
        models.load_tokenizer(config_of(folder, template="mine.jinja"), tmp_path)


@pytest.mark.shared
def test_the_beginning_of_a_story_is_marked_once(shared: Path, tmp_path: Path) -> None:
    story = shared / "models" / "stories260k"
    if not story.is_dir():
        pytest.skip("no shared/models/stories260k")
    tokenizer = models.load_tokenizer(config_of(story, template="plain"), tmp_path)
    prompt, answer = data.Encoder(tokenizer).pair([user("Once upon a time, there was")], [assistant(" a girl.")])
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == 1
    assert prompt[0] == 1 and prompt.count(1) == 1
    assert answer[-1] == 1 and answer.count(1) == 1
    assert prompt + answer[:-1] == tokenizer("Once upon a time, there was a girl.").input_ids


def test_missing_weights_are_refused_rather_than_invented(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunFileError, match="lacks the weights"):
        models.load_causal(folder, CPU)


@pytest.mark.parametrize("left", [False, True])
def test_a_reward_is_read_at_the_last_real_token_on_either_side_of_the_padding(
    tiny_model_dir: Path, left: bool
) -> None:
    torch.manual_seed(0)
    model = models.load_classifier(tiny_model_dir, CPU, 0).eval()
    alone = [model(torch.tensor([row])).logits.item() for row in ROWS]
    ids, mask = data.pad(ROWS, 0, left=left)
    assert model(ids, attention_mask=mask).logits[:, 0].tolist() == pytest.approx(alone, abs=1e-5)


def test_a_reward_adapter_keeps_its_score_head_through_the_disk(tiny_model_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = runfile.check(
        {"kind": "reward", "base_model": {"path": str(tiny_model_dir)}, "snapshot": {"path": "s"}, "adapter": {"r": 4}}
    )
    model = adapters.attach(models.load_classifier(tiny_model_dir, CPU, 0), config.adapter, task="reward")
    with torch.no_grad():
        for weight in models.trainable(model):
            weight.normal_()
    ids, mask = data.pad(ROWS, 0)
    before = model.eval()(ids, attention_mask=mask).logits
    tokenizer = models.load_tokenizer(config, tmp_path)
    folder = models.save_reward(model, tokenizer, RunDir(tmp_path), config, reward_mean=0.5)
    again = models.load_reward(folder, tiny_model_dir, CPU, 0)
    assert torch.equal(again(ids, attention_mask=mask).logits, before)
    card = json.loads((folder / "hone.json").read_text())
    assert (card["role"], card["reward_mean"], card["seed"]) == ("reward", 0.5, 0)
    assert not [weight for weight in again.parameters() if weight.requires_grad]


def test_a_copied_adapter_begins_where_the_first_one_ended(tiny_model_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    adapter = Adapter(r=4, alpha=8)
    first = adapters.attach(models.load_causal(tiny_model_dir, CPU), adapter, task="causal")
    with torch.no_grad():
        for weight in models.trainable(first):
            weight.normal_()
    first.save_pretrained(tmp_path / "first")
    ids = torch.tensor(ROWS[:1])
    wanted = first.eval()(ids).logits
    for name in ("default", "policy"):
        fresh = models.load_causal(tiny_model_dir, CPU)
        copy = adapters.attach(fresh, adapter, task="causal", name=name, start=tmp_path / "first").eval()
        assert torch.equal(copy(ids).logits, wanted)
    with pytest.raises(RunFileError, match=r"adapter\.r is 8, but the start adapter has 4"):
        fresh = models.load_causal(tiny_model_dir, CPU)
        adapters.attach(fresh, Adapter(r=8, alpha=8), task="causal", start=tmp_path / "first")


def test_a_whole_classifier_without_its_head_is_not_a_reward_model(tiny_model_dir: Path) -> None:
    with pytest.raises(RunFileError, match=r"score\.weight"):
        models.load_reward(tiny_model_dir, None, CPU, 0)


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunFileError, match=r"hardware\.device"):
        models.device_of(Hardware(device="cuda"))
    assert models.device_of(Hardware()).type == "cpu"
    assert models.dtype_of(Hardware()) == torch.float32


def test_the_tiny_model_is_tiny() -> None:
    assert sum(weight.numel() for weight in tiny_llama(tiny_tokenizer()).parameters()) < 50_000
