"""Datasets of the hub, from a hub of our own on this machine."""

import gzip
import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from annotation.cleaning import CleaningError
from annotation.importing import import_records
from annotation.reading import UnreadableFile, hub
from tests import factories
from tests.hub import TOKEN, Hub, Repository, serving


def rows(split: str, number: int) -> list[dict[str, str]]:
    return [{"prompt": f"{split} {n}?", "chosen": "yes", "rejected": "no"} for n in range(number)]


def parquet(split: str, number: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows(split, number)), out)
    return out.getvalue()


def lines(split: str, number: int) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows(split, number)).encode()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving(monkeypatch) as found:
        found.repositories = {
            "team/pairs": Repository(converted={"train": [parquet("train", 3)], "test": [parquet("test", 2)]}),
            "team/private": Repository(private=True, files={"data/train.jsonl": lines("train", 1)}),
            "team/files": Repository(
                files={
                    "README.md": b"#",
                    "dataset_infos.json": b"{}",
                    "data/eval-00000.jsonl.gz": gzip.compress(lines("eval", 2)),
                    "data/train-00000.jsonl": lines("train", 1),
                    "data/train-00001.jsonl": lines("train", 1),
                    "extra/more.jsonl": lines("more", 4),
                }
            ),
            "team/words": Repository(files={"README.md": b"#"}),
        }
        found.canned["/api/datasets/team/odd/parquet"] = [1]
        found.canned["/api/datasets/team/elsewhere/parquet"] = {"default": {"train": ["http://169.254.169.254/s"]}}
        yield found


@pytest.mark.django_db
def test_a_dataset_of_the_hub_comes_in_by_its_name(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    project = factories.project()
    report = import_records(project, "hf:team/pairs")
    assert (report.created, report.annotations, report.source["container"]) == (5, 5, "hub")
    assert project.tasks.filter(metadata__split="test").count() == 2
    # The hub sends a reader on to where its files lie, and that place gets no token.
    assert {token for _, path, token in served.asked if path.startswith("/api/")} == {TOKEN}
    assert [token for _, path, token in served.asked if path.startswith("/storage/")] == ["", ""]


@pytest.mark.usefixtures("served")
def test_one_split_can_be_named() -> None:
    for name in ("hf:team/pairs:test", "hf:team/pairs:default:test"):
        found = list(hub.read(name))
        assert [line for line, _ in found] == [1, 2]
        assert not any(isinstance(row, CleaningError) or "metadata" in row for _, row in found)


@pytest.mark.usefixtures("served")
def test_what_the_hub_did_not_convert_is_read_from_the_repository_s_own_files() -> None:
    prompts = [
        (row["prompt"], row["metadata"]["split"]) for _, row in hub.read("hf:team/files") if isinstance(row, dict)
    ]
    assert prompts == [("eval 0?", "eval"), ("eval 1?", "eval"), ("train 0?", "train"), ("train 0?", "train")]
    assert len(list(hub.read("hf:team/files:extra:train"))) == 4


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:no name", "is no dataset's name"),
        ("hf:../../etc/passwd", "is no dataset's name"),
        ("hf:team/none", "it is private or needs a token"),  # as the hub says to who has none
        ("hf:team/private", "it is private or needs a token"),
        ("hf:team/words", "the hub has nothing"),
        ("hf:team/pairs:other", "the hub has default:train, default:test"),
        ("hf:team/odd", "cannot be read"),
        ("hf:team/elsewhere", "a place that is not its own"),
    ],
)
def test_what_the_hub_does_not_give_is_told_in_a_sentence(name: str, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        list(hub.read(name))


@pytest.mark.usefixtures("served")
def test_a_token_opens_what_is_private_and_is_never_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert len(list(hub.read("hf:team/private"))) == 1
    with pytest.raises(UnreadableFile, match=r"status 404.*: there is no such dataset"):
        list(hub.read("hf:team/none"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UnreadableFile, match="status 401") as refused:
        list(hub.read("hf:team/private"))
    assert "hf_" not in str(refused.value) + caplog.text


def test_a_hub_that_cannot_be_reached_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableFile, match="switched off here"):
        list(hub.read("hf:team/pairs"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UnreadableFile, match="cannot be reached"):
        list(hub.read("hf:team/pairs"))
