"""Fragments that a page asks for again and again: unchanged ones cost a hash and an empty answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified


def version_of(*facts: Any) -> str:
    """An ETag of whatever the fragment is drawn from."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return '"' + hashlib.sha256(text.encode()).hexdigest()[:20] + '"'


def file_version(path: Path) -> list[int]:
    """Size and time of a file's last change; zeros while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns]


def unless_unchanged(request: HttpRequest, version: str, render: Callable[[], HttpResponse]) -> HttpResponse:
    """304 when the caller has `version` already, else what `render` gives, marked with it.

    The fragment sends its version itself (hx-headers): a browser that asked from its cache would turn the 304 into a
    200, and htmx would draw the same thing again under the reader's hands.
    """
    if request.headers.get("If-None-Match", "").removeprefix("W/") == version:  # weak where it was compressed
        unchanged = HttpResponseNotModified()
        unchanged["ETag"] = version
        return unchanged
    response = render()
    response["ETag"] = version
    response["Cache-Control"] = "private, no-cache"
    return response
