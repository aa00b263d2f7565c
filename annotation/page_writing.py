"""Pages of columns as bytes of a file: what writing does with rows, for pages whose texts stay as they are stored.

The bytes are the same. A message or a body that the database keeps as JSON is put into a line as it stands, and of an
answer only its text is carried along.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from annotation.judged import value_of
from annotation.writing import BATCH, arrow_schema, as_json, parquet_of

Page = dict[str, list[Any]]  # the cells of each column
Forms = dict[str, str]  # name → stored messages | answer | stored json | text | integer | float

KINDS = {"stored messages": "messages", "answer": "messages", "stored json": "json"}  # as writing.Columns has them
_quote: Callable[[str], str] = json.encoder.encode_basestring


def jsonl(pages: Iterable[Page], forms: Forms) -> Iterator[bytes]:
    line = "{" + ", ".join(f'"{name}": %s' for name in forms) + "}\n"
    for page in pages:
        cells = [LINES[form](page[name]) for name, form in forms.items()]
        if text := "".join([line % row for row in zip(*cells, strict=True)]):
            yield text.encode()


def parquet(pages: Iterable[Page], forms: Forms) -> Iterator[bytes]:
    import pyarrow as pa  # only an import or export pays for loading it

    schema = arrow_schema({name: KINDS.get(form, form) for name, form in forms.items()})
    fields = [(name, ARRAYS.get(form, pa.array), schema.field(name).type) for name, form in forms.items()]
    found = (
        pa.RecordBatch.from_arrays([array(page[name], type) for name, array, type in fields], schema=schema)
        for page in _of_size(pages, list(forms), BATCH)
    )
    return parquet_of(found, schema)


def _of_size(pages: Iterable[Page], names: list[str], size: int) -> Iterator[Page]:
    """The same rows on pages of `size`; the last has what is left."""
    waiting: Page = {name: [] for name in names}
    for page in pages:
        for name, cells in waiting.items():
            cells += page[name]
        while len(waiting[names[0]]) >= size:
            yield {name: cells[:size] for name, cells in waiting.items()}
            waiting = {name: cells[size:] for name, cells in waiting.items()}
    if waiting[names[0]]:
        yield waiting


def _stored_line(cells: list[str]) -> list[str]:
    # SQLite keeps letters beyond ASCII as escapes, which a file of ours does not have.
    return [as_json(value_of(cell)) if "\\u" in cell else cell for cell in cells]


def _answer_line(cells: list[str]) -> list[str]:
    return ['[{"role": "assistant", "content": ' + _quote(cell) + "}]" for cell in cells]


def _text_line(cells: list[str | None]) -> list[str]:
    return ["null" if cell is None else _quote(cell) for cell in cells]


def _number_line(cells: list[float | None]) -> list[str]:
    return ["null" if cell is None else repr(cell) for cell in cells]


def _stored_array(cells: list[str], type: Any) -> Any:
    prompts = [value_of(cell) for cell in cells]
    messages = [message for prompt in prompts for message in prompt]
    roles, contents = ([message[part] for message in messages] for part in ("role", "content"))
    return _messages(list(accumulate(map(len, prompts), initial=0)), roles, contents, type)


def _answer_array(cells: list[str], type: Any) -> Any:
    return _messages(list(range(len(cells) + 1)), ["assistant"] * len(cells), cells, type)


def _messages(places: list[int], roles: list[str], contents: list[str], type: Any) -> Any:
    import pyarrow as pa

    said = pa.StructArray.from_arrays(
        [pa.array(roles, pa.string()), pa.array(contents, pa.string())], type=type.value_type
    )
    return pa.ListArray.from_arrays(pa.array(places, pa.int32()), said, type=type)


def _json_array(cells: list[str], type: Any) -> Any:
    import pyarrow as pa

    return pa.array(_stored_line(cells), type)


LINES: dict[str, Callable[[list[Any]], list[str]]] = {
    "stored messages": _stored_line,
    "answer": _answer_line,
    "stored json": _stored_line,
    "text": _text_line,
    "integer": _number_line,
    "float": _number_line,
}
ARRAYS: dict[str, Callable[[list[Any], Any], Any]] = {
    "stored messages": _stored_array,
    "answer": _answer_array,
    "stored json": _json_array,
}
Writer = Callable[[Iterable[Page], Forms], Iterator[bytes]]
WRITERS: dict[str, Writer] = {"jsonl": jsonl, "parquet": parquet}
