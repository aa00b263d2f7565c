"""Datasets of the hub, from a hub of our own on this machine."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from annotation.cleaning import CleaningError
from annotation.importing import import_records
from annotation.reading import UnreadableFile, hub
from tests import factories

SPLITS = {"train": 3, "test": 2}


def parquet(split: str) -> bytes:
    rows = [{"prompt": f"{split} {n}?", "chosen": "yes", "rejected": "no"} for n in range(SPLITS[split])]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        base = f"http://127.0.0.1:{self.server.server_address[1]}"
        files = {f"/files/{split}/0.parquet": parquet(split) for split in SPLITS}
        listed = {"default": {split: [f"{base}/files/{split}/0.parquet"] for split in SPLITS}}
        elsewhere = {"default": {"train": ["http://169.254.169.254/secret"]}}
        pages = files | {
            "/api/datasets/team/pairs/parquet": json.dumps(listed).encode(),
            "/api/datasets/team/elsewhere/parquet": json.dumps(elsewhere).encode(),
            "/api/datasets/team/odd/parquet": b"[1]",
        }
        data = pages.get(self.path)
        self.send_response(200 if data is not None else 404)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield url
        server.shutdown()


@pytest.mark.django_db
@pytest.mark.usefixtures("endpoint")
def test_a_dataset_of_the_hub_comes_in_by_its_name() -> None:
    project = factories.project()
    report = import_records(project, "hf:team/pairs")
    assert (report.created, report.annotations, report.source["container"]) == (5, 5, "hub")
    assert project.tasks.filter(metadata__split="test").count() == 2


@pytest.mark.usefixtures("endpoint")
def test_one_split_can_be_named() -> None:
    for name in ("hf:team/pairs:test", "hf:team/pairs:default:test"):
        rows = list(hub.read(name))
        assert [line for line, _ in rows] == [1, 2]
        assert not any(isinstance(row, CleaningError) or "metadata" in row for _, row in rows)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:no name", "is no dataset's name"),
        ("hf:../../etc/passwd", "is no dataset's name"),
        ("hf:team/none", "there is no such dataset"),
        ("hf:team/pairs:other", "the hub has default:train, default:test"),
        ("hf:team/odd", "cannot be read"),
        ("hf:team/elsewhere", "a place that is not its own"),
    ],
)
def test_what_the_hub_does_not_give_is_told_in_a_sentence(name: str, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        list(hub.read(name))


def test_a_hub_that_cannot_be_reached_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableFile, match="switched off here"):
        list(hub.read("hf:team/pairs"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UnreadableFile, match="cannot be reached"):
        list(hub.read("hf:team/pairs"))
