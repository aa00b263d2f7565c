"""Many new rows at once, without a model instance for each: hundreds in a statement on SQLite, COPY on PostgreSQL.

Django's bulk_create was four fifths of an import's time, and executemany takes SQLite half as long again as statements
of many rows. The columns that a caller does not name get their fields' defaults, so that a new column needs no change
here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, cast

from django.db import connection, models
from django.utils import timezone

_maker: Any = getattr(json.encoder, "c_make_encoder", None)  # json.dumps makes a new one for every value
_pieces = _maker and _maker(
    None, None, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, False
)  # fmt: skip
MOST_VALUES = 10_000  # in one statement; SQLite takes 32,766
EMPTY: dict[type, str | None] = {dict: "{}", list: "[]"}


def next_ids(model: type[models.Model], number: int) -> list[int]:
    """Ids for that many new rows, rising; the caller holds the write transaction in which they are used."""
    if not connection.in_atomic_block:
        raise RuntimeError("Ids are taken inside the transaction that uses them.")
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            sequence = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"
            cursor.execute(sequence, [table, number])
            return sorted(row[0] for row in cursor.fetchall())
        # Only one transaction writes at a time, and AUTOINCREMENT remembers the highest id that was ever given.
        cursor.execute("SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = %s), 0)", [table])
        first = int(cursor.fetchone()[0]) + 1
        return list(range(first, first + number))


def insert(model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Store rows whose values stand in the order of `names` (attribute names: task_id, not task)."""
    columns, given, others = _plan(model, tuple(names))
    constants = tuple(_stored(field)(_default(field)) for field in others)
    changes = [(place, change) for place, field in enumerate(given) if (change := _change(field)) is not None]
    table = connection.ops.quote_name(model._meta.db_table)
    if connection.vendor == "postgresql":
        copying = f"COPY {table} ({columns}) FROM STDIN"
        with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(copying) as copy:
            for row in _ready(rows, changes, constants):
                copy.write_row(row)
        return
    changing, waiting = dict(changes), iter(rows)
    while piece := list(islice(waiting, MOST_VALUES // (len(given) + len(constants)))):
        same = list(constants)
        differing: list[str] = []
        by_column: list[Iterable[Any]] = []
        same_columns = [str(field.column) for field in others]
        for place, values in enumerate(zip(*piece, strict=True)):
            change = changing.get(place)
            if _is_one(values, is_json=change is as_json):
                same_columns.append(str(given[place].column))
                same.append(change(values[0]) if change else values[0])
            else:
                differing.append(str(given[place].column))
                by_column.append(map(change, values) if change else values)
        _execute(table, (*same_columns, *differing), same, by_column, len(piece))


def insert_columns(model: type[models.Model], same: dict[str, Any], columns: Mapping[str, Sequence[Any]]) -> None:
    """Store rows given by their columns, JSON as its text; `same` is what all of them have in common."""
    _, given, others = _plan(model, (*same, *columns))
    alike = [*same.values(), *(_stored(field)(_default(field)) for field in others)]
    names = [str(field.column) for field in given]
    names[len(same) : len(same)] = [str(field.column) for field in others]
    table, number = connection.ops.quote_name(model._meta.db_table), len(next(iter(columns.values())))
    if connection.vendor == "postgresql":
        copying = f"COPY {table} ({', '.join(map(connection.ops.quote_name, names))}) FROM STDIN"
        with connection.cursor() as cursor, connection.wrap_database_errors, cursor.copy(copying) as copy:
            for row in zip(*columns.values(), strict=True):
                copy.write_row((*alike, *row))
        return
    at_once = MOST_VALUES // len(columns)
    for start in range(0, number, at_once):
        pieces = [values[start : start + at_once] for values in columns.values()]
        _execute(table, tuple(names), alike, pieces, len(pieces[0]))


def _execute(table: str, columns: tuple[str, ...], same: list[Any], differing: list[Any], rows: int) -> None:
    """One statement of SQLite for many rows: values that they have in common, then the columns in which they differ."""
    bound = [*same, *chain.from_iterable(zip(*differing, strict=True))]
    with connection.cursor(), connection.wrap_database_errors:
        # Django's own execute would put every mark into another notation.
        cast(Any, connection.connection).execute(_statement(table, columns, len(same), rows), bound)


def _is_one(values: Sequence[Any], *, is_json: bool) -> bool:
    """Whether a column's values are all the same, so that one of them is enough; of JSON only null, {} and [] tell."""
    first = values[0]
    if is_json and first is not None and (first or type(first) not in EMPTY):
        return False  # 1, 1.0 and true are equal here and not the same there
    return values.count(first) == len(values)


@lru_cache(maxsize=64)
def _statement(table: str, columns: tuple[str, ...], same: int, rows: int) -> str:
    """An INSERT of that many rows: the first `same` columns hold one value in all of them and are bound once."""
    marks = [*(f"?{number}" for number in range(1, same + 1)), *("?" for _ in columns[same:])]
    named = ", ".join(map(connection.ops.quote_name, columns))
    return f"INSERT INTO {table} ({named}) VALUES " + ", ".join([f"({', '.join(marks)})"] * rows)  # noqa: S608  our own names


def update(model: type[models.Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Set these attributes in each row that is there; a row's values stand in the order of `names`, then its id."""
    _, given, _ = _plan(model, tuple(names))
    changes = [(place, change) for place, field in enumerate(given) if (change := _change(field)) is not None]
    settings = ", ".join(f"{connection.ops.quote_name(field.column)} = %s" for field in given)
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {settings} WHERE id = %s", list(_ready(rows, changes, ())))  # noqa: S608


def as_json(value: Any) -> str | None:
    """A value as both databases' JSON columns take it; None is their NULL."""
    if value is None:
        return None
    if not value:
        return EMPTY.get(type(value)) or json.dumps(value)
    return "".join(_pieces(value, 0)) if _pieces else json.dumps(value)


def _ready(rows: Iterable[Sequence[Any]], changes: list[Any], constants: tuple[Any, ...]) -> Iterable[Sequence[Any]]:
    for row in rows:
        values = list(row)
        for place, change in changes:
            values[place] = change(values[place])
        values.extend(constants)
        yield values


@lru_cache(maxsize=32)
def _plan(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, list[Any], list[Any]]:
    fields = {field.attname: field for field in model._meta.concrete_fields}
    given = [fields[name] for name in names]
    others = [field for name, field in fields.items() if name not in names and not field.primary_key]
    return ", ".join(connection.ops.quote_name(str(field.column)) for field in given + others), given, others


def _default(field: Any) -> Any:
    if getattr(field, "auto_now_add", False) or getattr(field, "auto_now", False):
        return timezone.now()
    return field.get_default()


def _change(field: Any) -> Callable[[Any], Any] | None:
    """How a value of this field must be changed to be stored; None when it is stored as it is."""
    if isinstance(field, models.JSONField):
        return as_json
    if isinstance(field, models.DateTimeField):
        return _stored(field)
    return None


def _stored(field: Any) -> Callable[[Any], Any]:
    if isinstance(field, models.JSONField):
        return as_json
    return lambda value: field.get_db_prep_save(value, connection)
