"""The one door for text and JSON from outside: files, forms, the API and model outputs.

Both databases store the same things: PostgreSQL refuses NUL and lone surrogates while SQLite keeps them, and neither
JSON column can hold NaN, so all of them are refused here, with the name of the field.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from django.utils.translation import gettext

MAX_TEXT = 1_000_000  # characters in one text: longer than any context window that people judge by eye
MAX_DEPTH = 64  # lists and objects inside each other
MAX_INT = 2**63 - 1  # what both databases and Parquet hold exactly
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED_TROUBLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # JSON can smuggle these past a sound encoding


class CleaningError(ValueError):
    """Input that may not come in: `field` names the place, `message` is one sentence about it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[CleaningError], tuple[str, str]]:
        return type(self), (self.field, self.message)  # a process that reads ahead sends them


def clean_text(value: object, field: str, *, limit: int = MAX_TEXT) -> str:
    """`value` itself when it is text that both databases can hold and no longer than `limit` characters."""
    if not isinstance(value, str):
        raise CleaningError(field, gettext("Must be text, not %(kind)s.") % {"kind": kind_of(value)})
    if len(value) > limit:
        raise CleaningError(
            field,
            gettext("Is %(length)s characters long; at most %(limit)s are allowed.")
            % {"length": f"{len(value):,}", "limit": f"{limit:,}"},
        )
    if "\x00" in value:
        raise CleaningError(field, gettext("Contains a NUL character (U+0000); remove it."))
    if not value.isascii() and (found := SURROGATE.search(value)):
        raise CleaningError(
            field,
            gettext("Contains half of a surrogate pair (U+%(ord)s); the text was cut or mis-decoded.")
            % {"ord": f"{ord(found[0]):04X}"},
        )
    return value


def clean_json(value: Any, field: str = "", *, limit: int = MAX_TEXT) -> Any:
    """`value` itself when all its texts, keys and numbers can be stored and it is not absurdly deep."""
    waiting: list[tuple[str, Any, int]] = [(field, value, 1)]
    while waiting:
        place, item, depth = waiting.pop()
        if isinstance(item, str):
            clean_text(item, place, limit=limit)
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise CleaningError(
                    _root(place), gettext("Is nested more than %(max_depth)s levels deep.") % {"max_depth": MAX_DEPTH}
                )
            if isinstance(item, dict):
                for key in item:
                    clean_text(key, f"{place} (a key)" if place else "(a key)", limit=200)
                waiting += [(f"{place}.{key}" if place else key, part, depth + 1) for key, part in item.items()]
            else:
                waiting += [(f"{place}[{index}]", part, depth + 1) for index, part in enumerate(item)]
        else:
            _check_scalar(item, place)
    return value


def strict_json(data: bytes | str) -> Any:
    """The value of one JSON text, refusing what JSON forbids or the databases cannot hold.

    Refused, each with one sentence: a wrong encoding, NaN and Infinity, numbers out of range, duplicate keys, NUL, lone
    surrogates and absurd depth. A byte-order mark at the start is skipped.
    """
    text = decode(data) if isinstance(data, bytes | bytearray) else data.removeprefix("\ufeff")
    if not text or text.isspace():
        raise CleaningError("", gettext("Is empty where JSON was expected."))
    try:
        value = _value(text)
    except json.JSONDecodeError as error:
        raise CleaningError(
            "",
            gettext("Is not valid JSON: %(msg)s at line %(lineno)s, column %(colno)s.")
            % {"msg": error.msg, "lineno": error.lineno, "colno": error.colno},
        ) from None
    except RecursionError:
        raise CleaningError(
            "", gettext("Is nested more than %(max_depth)s levels deep.") % {"max_depth": MAX_DEPTH}
        ) from None
    # Only an escape brings NUL or a surrogate out of sound text, only brackets bring depth: most lines need no walk.
    escaped = "\\u" in text and ESCAPED_TROUBLE.search(text)
    suspicious = escaped or len(text) > MAX_TEXT or (not text.isascii() and SURROGATE.search(text))
    if suspicious or text.count("[") + text.count("{") > MAX_DEPTH:
        clean_json(value)
    return value


def decode(data: bytes | bytearray, field: str = "") -> str:
    """UTF-8 bytes as text, without a leading byte-order mark; the error names the line and the byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CleaningError(field, gettext("Is UTF-16; save it as UTF-8."))
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CleaningError(
            field,
            gettext("Is not UTF-8: byte 0x%(data)s at line %(line)s cannot be read; save it as UTF-8.")
            % {"data": f"{data[error.start]:02x}", "line": line},
        ) from None


def storable(value: Any) -> Any:
    """`value` with U+FFFD for what the databases refuse: for telling people of bad input, never for storing it."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value.replace("\x00", "\ufffd"))
    if isinstance(value, dict):
        return {storable(key): storable(part) for key, part in value.items()}
    return [storable(part) for part in value] if isinstance(value, list) else value


def kind_of(value: object) -> str:
    """What `value` is, in the words of a person who writes JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", bytes: "raw bytes"}
    return names.get(type(value), f"a {type(value).__name__}")


def _check_scalar(item: object, place: str) -> None:
    if item is None or isinstance(item, bool):
        return
    if isinstance(item, float):
        if not math.isfinite(item):
            raise CleaningError(place, gettext("Must be a finite number, not NaN or Infinity."))
    elif isinstance(item, int):
        if abs(item) > MAX_INT:
            raise CleaningError(place, gettext("Is a number too large to store exactly."))
    else:
        raise CleaningError(place, gettext("Holds %(kind)s, which JSON cannot.") % {"kind": kind_of(item)})


def _root(place: str) -> str:
    return re.split(r"[.\[]", place, maxsplit=1)[0]


def _value(text: str) -> Any:
    try:
        value, end = DECODER.scan_once(text, 0)  # what decode does between two searches for white space
        if end == len(text) or text[end:].strip(" \t\r\n") == "":
            return value
    except (StopIteration, json.JSONDecodeError):
        pass
    return DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise CleaningError(SURROGATE.sub("\ufffd", double[:80]), gettext("Is given twice in one JSON object."))
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise CleaningError("", gettext("Holds the number %(digits)s, which is too large.") % {"digits": digits[:20]})
    return value


def _int(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > MAX_INT:
        raise CleaningError(
            "", gettext("Holds the number %(digits)s…, which is too large to store exactly.") % {"digits": digits[:20]}
        )
    return int(digits)


def _constant(name: str) -> None:
    raise CleaningError(
        "", gettext("Holds %(name)s, which JSON does not allow; use null or a finite number.") % {"name": name}
    )


DECODER: Any = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant)
