"""What the caller accepts; nearly everybody takes JSON, and finding that out anew took longer than writing it."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

TAKES_JSON = {"", "*/*", "application/json"}


class Negotiation(DefaultContentNegotiation):
    """The framework's own, asked only where the answer is not plain."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        first, plain = renderers[0], request.META.get("HTTP_ACCEPT", "") in TAKES_JSON
        if plain and format_suffix is None and first.media_type == "application/json":
            return first, first.media_type
        return super().select_renderer(request, renderers, format_suffix)
