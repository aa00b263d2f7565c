"""Words that only the loop's pages need."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone

from annotation.templatetags.hone import percent_class, seconds
from rlhf import figures, health
from rlhf.models import Run, Snapshot

register = template.Library()


@register.filter
def failure_word(code: str) -> str:
    return health.CODES.get(code, code)


@register.filter
def took(run: Run) -> str:
    """How long a run has worked; nothing before it starts."""
    if run.started_at is None:
        return ""
    return seconds(((run.finished_at or timezone.now()) - run.started_at).total_seconds())


@register.filter
def simulated(snapshot: Snapshot | None) -> str:
    """How much of a snapshot was judged by simulated raters, in words; empty when none of it."""
    return simulated_words(snapshot.simulated_share) if snapshot else ""


@register.filter
def simulated_words(share: float | None) -> str:
    """How much of the judging was done by simulated raters, in words; empty when none of it."""
    return figures.simulated_words(share or 0.0)


@register.filter
def megabytes(size: int | None) -> str:
    """A file size: 812 B, 14.2 kB, 3.1 MB, 2.4 GB."""
    value = float(size or 0)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


@register.filter
def last_said(messages: list[dict[str, Any]] | str | None) -> str:
    """The last message of a conversation as plain text."""
    if isinstance(messages, str):
        return messages
    return str(messages[-1].get("content", "")) if messages else ""


@register.filter
def item(mapping: dict[str, Any] | None, key: str) -> Any:
    return (mapping or {}).get(key)


@register.filter
def round_number(value: float) -> int:
    """To two digits, as an estimate deserves."""
    return int(float(f"{value:.2g}"))


@register.simple_tag
def share_class(part: float, whole: float) -> str:
    """The width class of `part` in a bar that stands for `whole`; what is there stays visible."""
    return percent_class(max(part / whole, 0.01) if whole and part else 0.0)
