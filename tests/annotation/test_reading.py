import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotation import reading
from annotation.cleaning import CleaningError
from annotation.reading import UnreadableFile, archives, arrays

ROWS = [{"id": "1", "prompt": "café \u2028 🙂"}, {"id": "2", "prompt": "two\nlines, and more"}]


def read(path: Path, format: str | None = None) -> list[Any]:
    return [
        (line, str(record) if isinstance(record, CleaningError) else record)
        for line, record in reading.read(path, format)
    ]


def saved(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a", "a.jsonl.gz", "wrong.jsonl"])
@pytest.mark.parametrize("array", [False, True])
def test_json_is_read_by_what_it_holds(name: str, array: bool, tmp_path: Path) -> None:
    text = json.dumps(ROWS, indent=1) if array else "\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    data = b"\xef\xbb\xbf" + text.encode()
    path = saved(tmp_path, name, gzip.compress(data, mtime=0) if name.endswith("gz") else data)
    assert [record for _, record in read(path)] == ROWS
    assert [line for line, _ in read(path)] == ([2, 6] if array else [1, 3])


@pytest.mark.parametrize(("name", "between"), [("a.csv", ","), ("a.tsv", "\t"), ("semicolons.csv", ";")])
def test_tables_are_read_with_their_delimiter(name: str, between: str, tmp_path: Path) -> None:
    text = '\ufeffid|prompt|metadata\r\n1|"café\r\nmore"|"{""a"": 1}"\r\n2|x|\r\n'
    assert read(saved(tmp_path, name, text.replace("|", between))) == [
        (2, {"id": "1", "prompt": "café\r\nmore", "metadata": {"a": 1}}),
        (4, {"id": "2", "prompt": "x"}),
    ]


def test_parquet_and_saved_datasets_are_read_without_their_library(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([*ROWS, {"id": "3", "prompt": None}])
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(1, ROWS[0]), (2, ROWS[1]), (3, {"id": "3"})]
    for split in ("train", "test"):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        with pa.OSFile(str(folder / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        saved(folder, "state.json", json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    assert read(tmp_path / "saved" / "train")[1] == (2, ROWS[1])
    saved(tmp_path / "saved", "dataset_dict.json", json.dumps({"splits": ["train", "test"]}))
    records = read(tmp_path / "saved")
    assert [line for line, _ in records] == [1, 2, 3, 4, 5, 6]
    assert records[4] == (5, ROWS[1] | {"metadata": {"split": "test"}})


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "not known|no records"),
        ("a.csv", b"", "no records"),
        ("a.csv", b"id,prompt\n", "no records"),
        ("a.json", b"[]", "no records"),
        ("a.json", b'[{"a": 1}', "Line 1: a comma or ] is missing"),
        ("a.json", b'[{"a": 1},]', "Line 1: a record is not valid JSON"),
        ("a.json", b'[{"a": 1}]\n[2]', "Line 2: there is more text"),
        ("a.json", b'[\n{"a": "caf\xe9"}]', "byte 0xe9"),
        ("a.json", b'[\n{"a": ' + b"[" * 20_000, "levels deep|not valid"),
        ("a.json", b'["' + b"x" * 300_000, "Unterminated"),
        ("a.csv", b'id,prompt\n1,"open\n2,x\n', "Line 2: a quote is opened and never closed"),
        ("a.csv", b'id,prompt\n1,"a"b\n', "Line 2: a quoted cell is followed"),
        ("a.csv", b"id,id\n1,2\n", "same name"),
        ("a.csv", b"id,\n1,2\n", "no name"),
        ("a.csv", b"id,prompt\n1,caf\xe9\n", "Line 2: byte 0xe9"),
        ("a.csv", "id,prompt\n1,x\n".encode("utf-16"), "Line 1: Is UTF-16"),
        ("a.parquet", b"PAR1 and nothing", "not a sound Parquet"),
        ("a.parquet", b"text", "not a sound Parquet"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20], "middle of its gzip"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:30] + b"\xff" * 30, "damaged gzip|middle"),
        ("a.docx", b"PK", "format of a.docx is not known"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableFile, match=words) as caught:
        read(saved(tmp_path, name, data), "jsonl" if name == "a.jsonl" else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n{"a": 2}', (2, "Is not valid JSON: Expecting value at column 6.")),
        ("a.jsonl", b'{"a": 1}\n[1]\n{"a": 2}', (2, 'Must be an object such as {"prompt": "…"}, not a list.')),
        (
            "a.jsonl",
            b'{"a": 1}\n{"a": "\xe9"}\n{"a": 2}',
            (2, "Is not UTF-8: byte 0xe9 cannot be read; save it as UTF-8."),
        ),
        ("a.json", b'[{"a": 1},\n{"b": 1, "b": 2},\n{"a": 2}]', (2, "b: Is given twice in one JSON object.")),
        ("a.json", b'[{"a": 1}, {"b": 1, "b": 2}, {"a": 2}]', (2, "b: Is given twice in one JSON object.")),
        ("a.json", b'[{"a": 1},\n{"b": 1e400},\n{"a": 2}]', (2, "Holds the number 1e400, which is too large.")),
        ("a.csv", b"a,b\n1,\n1,2,3\n2,\n", (3, "Has 3 cells where the header has 2; look for an unquoted comma.")),
    ],
)
def test_a_bad_record_is_told_and_the_others_are_read(
    name: str, data: bytes, problem: tuple[int, str], tmp_path: Path
) -> None:
    records = read(saved(tmp_path, name, data))
    assert records[1] == problem
    assert len(records) == 3


def test_an_array_larger_than_the_window_is_read_to_its_end(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": "x" * (number % 97)} for number in range(12_000)]
    path = saved(tmp_path, "big.json", json.dumps(rows))
    assert path.stat().st_size > 2 * arrays.BLOCK
    assert [record for _, record in read(path)] == rows


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LEAST_UNPACKED", 1 << 20)
    path = saved(tmp_path, "bomb.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 500_000, mtime=0))
    with pytest.raises(UnreadableFile, match="unpacks to more than 1 MB"):
        read(path)


def test_a_saved_dataset_may_not_point_elsewhere(tmp_path: Path) -> None:
    for name in ("../secret.arrow", "/etc/passwd", "none.arrow"):
        saved(tmp_path, "state.json", json.dumps({"_data_files": [{"filename": name}]}))
        with pytest.raises(UnreadableFile, match="which is not in it"):
            read(tmp_path)


def test_one_large_row_group_is_not_read_at_once(tmp_path: Path) -> None:
    chance, path = random.Random(0), tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"prompt": [chance.randbytes(500).hex() for _ in range(16_000)]}), path)
    before = pa.total_allocated_bytes()
    rows = reading.read(path)
    next(rows)
    assert pa.total_allocated_bytes() - before < path.stat().st_size / 2
    rows.close()  # type: ignore[attr-defined]
