"""Whole rows of several models by one prepared statement: who asks, for what, and what they are handed.

Every request asks these questions, and composing them takes the ORM longer than answering them the database and all
else that the request does. The statements still go through Django's cursor, so that they are counted and logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState

from annotation.prepared import prepared_cursor

Converters = list[tuple[int, Any, list[Callable[..., Any]]]]
Shapes = list[tuple[type[models.Model], int, int, list[str]]]


class Lookup:
    """One statement that gives whole rows: `{row}` in it stands for the columns of `tables`, a model for each alias.

    What else the statement selects comes behind them as the database gives it. A statement that differs between
    databases is given as a function, which is called once.
    """

    def __init__(self, tables: dict[str, type[models.Model]], statement: str | Callable[[], str]) -> None:
        self.tables, self.statement = tables, statement
        self._prepared: dict[str, tuple[str, Converters, Shapes]] = {}

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row found: an instance of each table's model, then the other columns."""
        here: Any = connections[DEFAULT_DB_ALIAS]
        sql, converters, shapes = self._prepared.get(here.vendor) or self._prepare(here)
        with prepared_cursor() as cursor:
            cursor.execute(sql, values)
            row = cursor.fetchone()
        if row is None:
            return None
        given = list(row)
        for place, column, converts in converters:
            for convert in converts:
                given[place] = convert(given[place], column, here)
        found = [instance(model, names, given[start:end]) for model, start, end, names in shapes]
        return (*found, *given[shapes[-1][2] :])

    def _prepare(self, here: Any) -> tuple[str, Converters, Shapes]:
        columns: list[Any] = []
        names: list[str] = []
        shapes: Shapes = []
        for alias, model in self.tables.items():
            fields = model._meta.concrete_fields
            shapes.append((model, len(columns), len(columns) + len(fields), [field.attname for field in fields]))
            columns += [field.get_col(alias) for field in fields]
            dotted = f"{alias}." if alias else ""
            names += [dotted + here.ops.quote_name(str(field.column)) for field in fields]
        converters = [
            (place, column, converts)
            for place, column in enumerate(columns)
            if (converts := here.ops.get_db_converters(column) + column.get_db_converters(here))
        ]
        statement = self.statement if isinstance(self.statement, str) else self.statement()
        prepared = (statement.replace("{row}", ", ".join(names)), converters, shapes)
        self._prepared[here.vendor] = prepared
        return prepared


class Insert:
    """One prepared INSERT of a whole row of `model`.

    A `statement` that does more names where the row goes to by `{into}`, and its values by `{values}`.
    """

    def __init__(self, model: type[models.Model], statement: str = "{into} VALUES ({values}) RETURNING id") -> None:
        self.model, self.statement = model, statement
        self._prepared: dict[str, str] = {}

    def save(self, row: models.Model, **values: Any) -> bool:
        """Store `row`, which gets its id; IntegrityError as the ORM raises it. False if the statement kept it out."""
        here: Any = connections[DEFAULT_DB_ALIAS]
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        sql = self._prepared.get(here.vendor) or self._prepare(here, fields)
        with prepared_cursor() as cursor:
            columns = {field.column: field.get_db_prep_save(getattr(row, field.attname), here) for field in fields}
            cursor.execute(sql, columns | values)
            stored = cursor.fetchone()
        if stored is None:
            return False
        row.pk = stored[0]
        row._state.adding, row._state.db = False, here.alias
        return True

    def _prepare(self, here: Any, fields: list[Any]) -> str:
        quote = here.ops.quote_name
        columns = ", ".join(quote(field.column) for field in fields)
        values = ", ".join(f"%({field.column})s" for field in fields)
        into = f"INSERT INTO {quote(self.model._meta.db_table)} ({columns})"
        self._prepared[here.vendor] = self.statement.replace("{into}", into).replace("{values}", values)
        return self._prepared[here.vendor]


def instance(model: type[models.Model], names: list[str], values: list[Any]) -> models.Model:
    """A stored row as `from_db` makes it, without calling signals that nobody listens to."""
    found = model.__new__(model)
    found._state = ModelState()
    found._state.adding, found._state.db = False, DEFAULT_DB_ALIAS
    found.__dict__.update(zip(names, values, strict=True))
    return found


def moment(value: Any) -> Any:
    """A point in time as this database compares it."""
    return connection.ops.adapt_datetimefield_value(value)
