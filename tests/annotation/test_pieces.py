import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from annotation import draws, reading
from annotation.reading import UnreadableFile, lines
from annotation.reading.pieces import Piece
from annotation.short_check import ShortCheck

GOOD = '{"id": "a", "prompt": "Which \\"one\\", and why?\\n", "responses": ["x\\\\", "“y” 🙂"]}'


def in_rows(pieces: list[Piece]) -> list[Any]:
    """What the pieces say by columns where they have them, and one by one elsewhere."""
    found: list[Any] = []
    for piece in pieces:
        if piece.columns is None:
            found += [(line, repr(row) if isinstance(row, Exception) else row) for line, row in piece.rows()]
        else:
            rows = zip(*piece.columns.values(), strict=True)
            found += zip(piece.lines, (dict(zip(piece.columns, row, strict=True)) for row in rows), strict=True)
    return found


def one_by_one(data: bytes) -> list[Any]:
    read = lines.read(io.BytesIO(data))
    return [(line, repr(row) if isinstance(row, Exception) else row) for line, row in read]


@pytest.mark.parametrize(
    "bad",
    [
        '{"id": "a", "prompt": "one", "prompt": "two", "responses": ["x", "y"]}',
        '{"id": "a", "id": "a", "prompt": "\\u0022\\u0022\\u0022", "responses": ["x", "y"]}',
        '{"id": "a", "prompt": "\\ud800", "responses": ["x", "y"]}',
        '{"id": "a", "prompt": "p", "responses": ["x", {"text": "y", "text": "z"}]}',
        '{"id": "a", "prompt": "p", "responses": [["x"], ["y"]]}',
        '{"id": "a", "prompt": "p", "responses": null}',
        '{"id": 7, "prompt": "p", "responses": ["x", "y"]}',
        '{"id": NaN, "prompt": "p", "responses": ["x", "y"]}',
        '{"id": 123456789012345678901234567890, "prompt": "p", "responses": ["x", "y"]}',
        '{"id": "a", "prompt": "p", "responses": ["x", "y"]} {"id": "b", "prompt": "p", "responses": ["x", "y"]}',
        '{"id": "a", "prompt": "p",\n"responses": ["x", "y"]}',
        '{"prompt": "p", "id": "a", "responses": ["x", "y"]}',
        '{"id": "a", "prompt": "p"}',
        '{"id": "a", "prompt": "p", "responses": [' + "[" * 2000,
        '["id", "prompt", "responses"]',
        '"text"',
        "{}",
        "",
        "\u2028",
    ],
)
def test_lines_read_by_columns_say_what_they_say_one_by_one(bad: str) -> None:
    for data in (f"{GOOD}\n{bad}\n{GOOD}\n", f"{bad}\r\n{bad}\n", f"\ufeff{GOOD}\n{GOOD}", bad):
        for size in (1, 2, 1000):
            found = in_rows(list(lines.read_pieces(io.BytesIO(data.encode()), size)))
            assert found == one_by_one(data.encode())
    assert [piece.columns is None for piece in lines.read_pieces(io.BytesIO(f"{GOOD}\n{GOOD}".encode()), 9)] == [False]


def test_lines_of_chance_say_by_columns_what_they_say_one_by_one() -> None:
    chance = random.Random(5)
    marks = ['"id"', '"prompt"', ":", ",", "{", "}", "[", "]", '"', "\\", "\\u0022", "\\n", "a", "7", "null", " ", "\n"]
    for _ in range(3000):
        text = list(f"{GOOD}\n{GOOD}\n")
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(text))
            text[place : place + chance.randrange(3)] = chance.choice(marks)
        data = "".join(text).encode()
        assert in_rows(list(lines.read_pieces(io.BytesIO(data), 1000))) == one_by_one(data)


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_overlong_lines_are_read_past_and_told_with_their_number(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_RECORD", 200)
    long = GOOD.replace("Which", "Which " * 200)
    data = "\n".join([GOOD, long, long, GOOD, "", long]).encode()
    found = in_rows(list(lines.read_pieces(io.BytesIO(data), size)))
    assert found == one_by_one(data)
    assert [line for line, row in found if isinstance(row, str)] == [2, 3, 6]


def test_bytes_that_are_no_text_go_the_long_way(tmp_path: Path) -> None:
    data = GOOD.encode() + b'\n{"id": "a", "prompt": "\xff", "responses": ["x", "y"]}\n'
    assert in_rows(list(lines.read_pieces(io.BytesIO(data), 9))) == one_by_one(data)
    with pytest.raises(UnreadableFile, match="UTF-16"):
        in_rows(list(lines.read_pieces(io.BytesIO(GOOD.encode("utf-16")), 9)))
    path = tmp_path / "packed.jsonl"
    path.write_bytes(gzip.compress(f"{GOOD}\n{GOOD}\n".encode()))
    (piece,) = reading.pieces(path, "jsonl", 9)
    assert piece.columns is not None and piece.lines == [1, 2]


@pytest.mark.parametrize(("each", "orders"), [(2, 2), (3, 6)])
def test_plain_records_are_the_same_after_their_responses_were_put_in_any_order(each: int, orders: int) -> None:
    rows = [{"id": f"q{n}", "prompt": "p", "responses": [f"{n}{side}" for side in "abc"[:each]]} for n in range(99)]
    data = "".join(json.dumps(row) + "\n" for row in rows)
    (piece,) = lines.read_pieces(io.BytesIO(data.encode()), 100)
    plain = ShortCheck(2, 3, False).columns_of(piece.columns or {})
    assert plain is not None
    assert list(plain.records()) == rows
    assert len({tuple(plain.places[at : at + each]) for at in range(0, len(plain.places), each)}) == orders


def test_many_ids_draw_the_lots_that_they_draw_one_by_one() -> None:
    ids = [f"é-{n}" for n in range(500)]
    assert draws.lots_of(ids) == [draws.lot_of(one) for one in ids]
    assert {type(lot) for lot in draws.lots_of(ids)} == {int}
