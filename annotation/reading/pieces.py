"""Some rows of a source at a time: by columns where all have the same fields, and one by one for whoever must look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from annotation.cleaning import CleaningError

Raw = tuple[int, dict[str, Any] | CleaningError]
Columns = dict[str, list[Any]]


class Piece(NamedTuple):
    """`columns`, and a line for each of their rows, are there where all rows have the same fields in the same order."""

    rows: Callable[[], Iterable[Raw]]  # once: each with its line, in place of a broken one what is wrong with it
    columns: Columns | None = None
    lines: list[int] = []


def of_rows(rows: Iterable[Raw], size: int) -> Iterator[Piece]:
    waiting = iter(rows)
    while some := list(islice(waiting, size)):
        yield Piece(partial(iter, some), by_columns([row for _, row in some]), [line for line, _ in some])


def by_columns(rows: list[Any]) -> Columns | None:
    """The values of each field, if all rows have the same fields in the same order."""
    orders = set(map(tuple, rows)) if set(map(type, rows)) == {dict} else set()
    if len(orders) != 1:
        return None
    return {name: list(map(itemgetter(name), rows)) for name in orders.pop()}
