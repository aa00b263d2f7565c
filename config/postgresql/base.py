"""Connections that are checked without asking the server, and whose prepared statements are few."""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg.types.numeric import Int8Dumper


class DatabaseWrapper(base.DatabaseWrapper):
    health_check_done: bool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection on which whole numbers have one type: each mix of sizes would be a statement of its own."""
        connection = super().get_new_connection(conn_params)
        connection.adapters.register_dumper(int, Int8Dumper)
        return connection

    def close_if_health_check_failed(self) -> None:
        """Ask the server whether it is there only if it said something unasked, such as that it goes."""
        if self.connection is not None and not self.health_check_done and self._is_quiet():
            self.health_check_done = True
        super().close_if_health_check_failed()

    def _is_quiet(self) -> bool:
        """Whether the socket is open and has nothing to read: a server that stops closes it."""
        if self.connection.closed:
            return False
        waiting = select.poll()
        waiting.register(self.connection.fileno(), select.POLLIN)
        return not waiting.poll(0)
