import json

import pytest

from annotation.cleaning import MAX_DEPTH, CleaningError, clean_json, clean_text, decode, strict_json


def refused(data: bytes | str) -> CleaningError:
    with pytest.raises(CleaningError) as caught:
        strict_json(data)
    return caught.value


@pytest.mark.parametrize("text", ["", "plain", "Zürich 🙂 \u2028 line", "a\r\nb\tc", "\x01 odd but storable"])
def test_text_that_both_databases_hold_comes_back_unchanged(text: str) -> None:
    assert clean_text(text, "prompt") == text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a\x00b", "NUL"),
        ("half \ud83d", "U+D83D"),
        ("x" * 11, "11 characters long; at most 10"),
        (3, "not a number"),
        (None, "not null"),
        (b"raw", "raw bytes"),
    ],
)
def test_text_that_cannot_be_stored_is_refused_with_the_field(value: object, words: str) -> None:
    with pytest.raises(CleaningError, match="prompt") as caught:
        clean_text(value, "prompt", limit=10)
    assert caught.value.field == "prompt"
    assert words in caught.value.message


def test_json_is_read_with_or_without_a_byte_order_mark() -> None:
    assert strict_json(b'\xef\xbb\xbf{"a": [1, 2.5, null, "\xc3\xa9"]}') == {"a": [1, 2.5, None, "é"]}
    assert strict_json('\ufeff{"a": 1}') == {"a": 1}
    assert strict_json('{"pair": "\\ud83d\\ude42"}') == {"pair": "🙂"}


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (b'{"a": NaN}', "", "NaN"),
        (b'{"a": -Infinity}', "", "-Infinity"),
        (b'{"a": 1e400}', "", "1e400"),
        (b'{"a": ' + b"9" * 400 + b"}", "", "too large"),
        (b'{"a": 1, "a": 2}', "a", "twice"),
        (b'{"a": {"b": "x\\u0000"}}', "a.b", "NUL"),
        (b'{"a": ["x", "\\ud83d"]}', "a[1]", "U+D83D"),
        (b'{"\\ud800": 1}', "(a key)", "U+D800"),
        (b'{"a": "x\x00"}', "", "Invalid control character"),
        (b'{"a": ', "", "column 7"),
        (b"", "", "empty"),
        (b'{"a": 1}\n{"a": 2}', "", "line 2"),
        (b'\n\n{"a": "\xff"}', "", "line 3"),
        ('{"a": 1}'.encode("utf-16"), "", "UTF-16"),
    ],
)
def test_json_that_cannot_be_stored_is_refused_with_its_place(data: bytes, field: str, words: str) -> None:
    error = refused(data)
    assert error.field == field
    assert words in error.message


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900, 20_000])
def test_absurd_depth_is_a_sentence_and_never_a_recursion_error(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    assert "levels deep" in refused(opening * depth + "1" + closing * depth).message


def test_reasonable_depth_is_fine() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert strict_json(text) == json.loads(text)


def test_parsed_values_are_walked_to_the_same_rules() -> None:
    good = {"a": [1, None, True, {"b": "text"}]}
    assert clean_json(good) is good
    for bad, field in [
        ({"m": {"x": float("nan")}}, "m.x"),
        ({"m": [2**70]}, "m[0]"),
        ({"m": {"x": {1, 2}}}, "m.x"),
        ({"m": "x" * 50}, "m"),
    ]:
        with pytest.raises(CleaningError) as caught:
            clean_json(bad, limit=40)
        assert caught.value.field == field


def test_a_wrong_encoding_names_the_line_and_the_byte() -> None:
    with pytest.raises(CleaningError, match="0xe9 at line 2"):
        decode("first\ncafé".encode("latin-1"))
