"""Rows of several models found by one prepared statement: who asks, and for what.

Every request asks these questions, and composing them takes the ORM longer than answering them the database and all
else that the request does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection, models

Converters = list[tuple[int, Any, list[Callable[..., Any]]]]


class Lookup:
    """One SELECT of whole rows, by their aliases in `tables`, and of `extra` columns; `rest` is all from FROM on."""

    def __init__(self, tables: dict[str, type[models.Model]], rest: str, *, extra: str = "") -> None:
        self.tables, self.rest, self.extra = tables, rest, extra
        self._prepared: dict[str, tuple[str, Converters]] = {}

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row found: an instance of each table's model, then the extra columns as the database gives them."""
        sql, converters = self._prepare()
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            row = cursor.fetchone()
        if row is None:
            return None
        given = list(row)
        for place, column, converts in converters:
            for convert in converts:
                given[place] = convert(given[place], column, connection)
        found: list[Any] = []
        start = 0
        for model in self.tables.values():
            names = [field.attname for field in model._meta.concrete_fields]
            found.append(model.from_db(connection.alias, names, given[start : start + len(names)]))
            start += len(names)
        return (*found, *given[start:])

    def _prepare(self) -> tuple[str, Converters]:
        if connection.vendor not in self._prepared:
            here: Any = connection  # a stand-in for the real one, which the types below ask for
            fields = [(alias, field) for alias, model in self.tables.items() for field in model._meta.concrete_fields]
            names = [f"{alias}.{connection.ops.quote_name(str(field.column))}" for alias, field in fields]
            selected = ", ".join([*names, self.extra] if self.extra else names)
            columns = [field.get_col(alias) for alias, field in fields]
            converters = [
                (place, column, converts)
                for place, column in enumerate(columns)
                if (converts := here.ops.get_db_converters(column) + column.get_db_converters(here))
            ]
            self._prepared[connection.vendor] = (f"SELECT {selected} {self.rest}", converters)
        return self._prepared[connection.vendor]


def moment(value: Any) -> Any:
    """A point in time as this database compares it."""
    return connection.ops.adapt_datetimefield_value(value)
