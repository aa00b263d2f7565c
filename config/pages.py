"""Middleware that pages need and programs do not: left out below /api/, where every judgement would pay for it."""

from collections.abc import Callable
from typing import Any

from django.contrib.messages.middleware import MessageMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_htmx.middleware import HtmxMiddleware

Handler = Callable[[HttpRequest], HttpResponseBase]


def messages(get_response: Handler) -> Handler:
    return _for_pages(MessageMiddleware(get_response), get_response)


def htmx(get_response: Handler) -> Handler:
    return _for_pages(HtmxMiddleware(get_response), get_response)


def _for_pages(middleware: Any, get_response: Handler) -> Handler:
    def handle(request: HttpRequest) -> HttpResponseBase:
        inner = get_response if request.path_info.startswith("/api/") else middleware
        return inner(request)

    return handle
