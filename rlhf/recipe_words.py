"""A snapshot's recipe in words, as its page and the comparison with another one show it."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

NOTHING: tuple[Any, ...] = (None, "", [], {}, False)


def lines(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """Each key that says something, with what it says."""
    return [(name_of(key), words(key, value)) for key, value in recipe.items() if value not in NOTHING]


def name_of(key: str) -> str:
    return key.replace("_", " ").capitalize()


def words(key: str, value: Any) -> str:
    """What one key says; empty where it says nothing."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if value in NOTHING:
        return ""
    if key == "split":
        return _split_words(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {one}" for name, one in value.items())
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _split_words(split: dict[str, Any]) -> str:
    words = f"by prompt, {split.get('eval_share') or 0:.0%} held out, seed {split.get('seed', 0)}"
    if split.get("by") == "time":
        words = f"by time, held out from {split.get('at')}"
    elif split.get("by") == "metadata":
        words = f"held out where {split.get('key')} is {split.get('eval')}"
    return f"{words}, nearly the same prompts on one side" if split.get("near") else words
