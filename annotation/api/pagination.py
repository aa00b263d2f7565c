"""Every list in pages, at most 200 rows each."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

MOST_ROWS = 200


class Cursor(CursorPagination):
    """Pages that stay right while rows come in: newest first, unless the view names another `ordering`."""

    ordering = "-pk"
    page_size_query_param = "limit"
    page_size_query_description = f"Rows in one page, 1 to {MOST_ROWS}."
    max_page_size = MOST_ROWS

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        ordering = getattr(view, "ordering", self.ordering)
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)

    def get_page_size(self, request: Request) -> int:
        limit = request.query_params.get(self.page_size_query_param, str(self.page_size))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST_ROWS):
            raise ValidationError(
                {"limit": [gettext("Must be a whole number from 1 to %(most_rows)s.") % {"most_rows": MOST_ROWS}]}
            )
        return int(limit)
