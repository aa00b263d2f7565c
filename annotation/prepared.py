"""A cursor for what every request asks: PostgreSQL plans such a statement once a connection, not time and again.

Planning was half of the server's time in a judgement. Django's own cursors write the values into the statement, each of
which is another to the server. SQLite's driver keeps statements by itself.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


def prepared_cursor() -> Any:
    """Django's cursor, whose values go to the server beside the statement.

    Where statements are logged it is the plain one, which knows them with their values.
    """
    here: Any = connections[DEFAULT_DB_ALIAS]
    if here.vendor != "postgresql" or here.queries_logged:
        return here.cursor()
    import psycopg  # not needed by those who have SQLite

    here.close_if_health_check_failed()
    here.ensure_connection()
    with here.wrap_database_errors:
        return here._prepare_cursor(psycopg.Cursor(here.connection))
