"""A snapshot's recipe in words, as its page and the comparison with another one show it."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_noop

NAMES = {
    "aggregation": gettext_noop("Combined by"),
    "aspect": gettext_noop("Rated on"),
    "deduplicate": gettext_noop("Leave out duplicates"),
    "exclude_annotators": gettext_noop("Leave out annotators"),
    "exclude_flags": gettext_noop("Flags that leave out"),
    "exclude_guidelines": gettext_noop("Leave out guidelines versions"),
    "flags": gettext_noop("Flags"),
    "gap": gettext_noop("Better by"),
    "guideline": gettext_noop("Guidelines version"),
    "improved": gettext_noop("Improved answers"),
    "intended_use": gettext_noop("Intended use"),
    "license": gettext_noop("License"),
    "metadata": gettext_noop("Metadata"),
    "min_agreement": gettext_noop("Agreement at least"),
    "rulings": gettext_noop("What reviewers settled"),
    "since": gettext_noop("Judgments from"),
    "split": gettext_noop("Split"),
    "threshold": gettext_noop("Good from"),
    "ties": gettext_noop("Ties"),
    "until": gettext_noop("Judgments until"),
}
NOTHING: tuple[Any, ...] = (None, "", [], {}, False)


def lines(recipe: dict[str, Any]) -> list[tuple[str, str]]:
    """Each key that says something, with what it says."""
    return [(name_of(key), words(key, value)) for key, value in recipe.items() if value not in NOTHING]


def name_of(key: str) -> str:
    return gettext(NAMES.get(key, key))


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
    words = gettext("by prompt, %(eval_share)s held out, seed %(seed)s") % {
        "eval_share": f"{split.get('eval_share') or 0:.0%}",
        "seed": split.get("seed", 0),
    }
    if split.get("by") == "time":
        words = gettext("by time, held out from %(at)s") % {"at": split.get("at")}
    elif split.get("by") == "metadata":
        words = gettext("held out where %(key)s is %(eval)s") % {"key": split.get("key"), "eval": split.get("eval")}
    return gettext("%(words)s, nearly the same prompts on one side") % {"words": words} if split.get("near") else words
