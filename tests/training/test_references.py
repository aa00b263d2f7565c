import pytest
import torch

from training.references import ReferenceCache, cache_folder
from training.runfile import ModelRef

PAIRS = [([1, 2], [3], [4, 5]), ([6], [7, 8], [9]), ([1], [2], [3])]


@pytest.fixture
def open_cache(tmp_path, tiny_model_dir):
    return lambda adapter=None, dtype=torch.float32, bits=None: ReferenceCache(
        tmp_path / "cache", ModelRef(path=tiny_model_dir), adapter, dtype, bits
    )


class Model:
    """Counts what it is asked; its answer to a pair is 1/3 of the first ids, which decimals cannot hold."""

    def __init__(self):
        self.asked = []

    def __call__(self, pairs):
        self.asked += pairs
        return torch.tensor([c[0] / 3 for _, c, _ in pairs] + [r[0] / 3 for _, _, r in pairs])


def test_a_second_run_reads_the_same_bits_and_computes_nothing(open_cache):
    model, seen = Model(), []
    first = open_cache().logps(PAIRS, 2, model, seen.append)
    assert torch.equal(first, torch.tensor([[c[0] / 3 for _, c, _ in PAIRS], [r[0] / 3 for _, _, r in PAIRS]]))
    assert len(model.asked) == 3 and seen == [2, 3]
    again = open_cache().logps(PAIRS, 2, model, seen.append)
    assert torch.equal(again, first) and len(model.asked) == 3


def test_the_same_answers_are_computed_once_whichever_was_preferred(open_cache):
    model, seen = Model(), []
    turned = [(prompt, rejected, chosen) for prompt, chosen, rejected in PAIRS]
    found = open_cache().logps([*PAIRS, *turned, PAIRS[0]], 2, model, seen.append)
    assert len(model.asked) == 3 and seen == [5, 7]
    assert torch.equal(found[:, 3:6], found[:, :3].flip(0)) and torch.equal(found[:, 6], found[:, 0])
    assert torch.equal(found[:, :3], open_cache().logps(PAIRS, 2, Model(), seen.append))


def test_a_half_written_line_is_computed_again(open_cache):
    cache = open_cache()
    first = cache.logps(PAIRS, 1, Model(), lambda done: None)
    text = cache.path.read_text()
    cache.path.write_text(text[: text.rstrip().rfind("\n") + 20])
    model = Model()
    assert torch.equal(open_cache().logps(PAIRS, 1, model, lambda done: None), first)
    assert len(model.asked) == 1
    assert len(open_cache().rows) == 3


def test_a_value_once_stored_stays(open_cache):
    open_cache().logps(PAIRS[:1], 1, Model(), lambda done: None)
    shifted = open_cache().logps(PAIRS, 3, lambda pairs: Model()(pairs) + 1, lambda done: None)
    assert shifted[0].tolist() == pytest.approx([1.0, 7 / 3 + 1, 2 / 3 + 1])


def test_another_number_format_adapter_or_number_of_bits_is_another_reference(open_cache, tiny_model_dir, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"lora_alpha": 8}')
    one = open_cache(ModelRef(path=adapter)).path
    (adapter / "adapter_config.json").write_text('{"lora_alpha": 16}')
    two = open_cache(ModelRef(path=adapter)).path
    quantised = [open_cache(bits=bits).path for bits in (4, 8)]
    assert len({open_cache().path, open_cache(dtype=torch.bfloat16).path, one, two, *quantised}) == 6


def test_runs_of_a_registry_share_and_a_run_alone_keeps_its_own(tmp_path, monkeypatch):
    assert cache_folder(tmp_path / "run") == tmp_path / "run" / "cache" / "reference"
    monkeypatch.setenv("HONE_DATA", str(tmp_path / "data"))
    assert cache_folder(tmp_path / "run") == tmp_path / "data" / "cache" / "reference"
