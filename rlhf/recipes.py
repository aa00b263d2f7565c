"""A snapshot's recipe: which judgements count and how they become rows.

All keys are optional. `split` is {"by": "prompt", "eval_share": 0.1, "seed": 0}, {"by": "time", "at": ISO time} or
{"by": "metadata", "key": "split", "eval": "test"}, each with "near": true, which keeps nearly the same prompts on one
side; `license` and `intended_use` are words for the card; the others are judged.Selection's, which says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from annotation import exporting
from annotation.splitting import Split

DEFAULTS: dict[str, Any] = {
    "aggregation": "majority",
    "ties": "drop",
    "min_agreement": 0.0,
    "flags": "drop",
    "rulings": "prefer",
    "improved": "keep",
    "deduplicate": False,
}
SPLITS: dict[str, dict[str, Any]] = {
    "prompt": {"by": "prompt", "eval_share": 0.1, "seed": 0, "near": True},
    "time": {"by": "time", "at": None, "near": True},
    "metadata": {"by": "metadata", "key": "split", "eval": "eval", "near": True},
}
WORDS = ("license", "intended_use")  # they change the card, not the rows
LONGEST = {"license": 80, "intended_use": 2000}


class SnapshotError(ValueError):
    """A snapshot that cannot be cut, in one sentence; `field` is the key of the recipe to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with every default written out; SnapshotError names the first bad key."""
    if not isinstance(recipe, dict):
        raise SnapshotError("recipe", gettext("A recipe must be an object."))
    for key in recipe:
        if key not in (*CHECKS, "split"):
            raise SnapshotError(
                key,
                gettext("%(key)s is not a key of a recipe; known: %(names)s.")
                % {"key": key, "names": ", ".join(("split", *CHECKS))},
            )
    whole = DEFAULTS | {key: value for key, value in recipe.items() if value is not None}
    for key in whole.keys() - {"split"}:
        CHECKS[key](key, whole[key])
    return whole | {"split": _check_split(whole.get("split"))}


def selection_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """A checked recipe as the options of an export."""
    options = {key: value for key, value in recipe.items() if key not in ("split", *WORDS)}
    options |= {key: moment(recipe[key], key) for key in ("since", "until") if key in recipe}
    for key in ("exclude_annotators", "exclude_flags", "exclude_guidelines"):
        if key in options:
            options[key] = tuple(options[key])
    return options


def split_of(recipe: dict[str, Any]) -> Split:
    asked = dict(recipe["split"])
    if "at" in asked:
        asked["at"] = moment(asked["at"], "split.at")
    return Split(**asked)


def moment(value: Any, key: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise SnapshotError(
            key,
            gettext("%(key)s must be a time such as 2026-01-31T12:00, not %(value)r.") % {"key": key, "value": value},
        ) from None
    return found if found.tzinfo else timezone.make_aware(found)


def _check_split(split: Any) -> dict[str, Any]:
    split = {"by": "prompt"} if split is None else split
    if not isinstance(split, dict) or split.get("by", "prompt") not in SPLITS:
        raise SnapshotError(
            "split", gettext("split must be an object whose by is one of %(splits)s.") % {"splits": ", ".join(SPLITS)}
        )
    defaults = SPLITS[split.get("by", "prompt")]
    for key in split:
        if key not in defaults:
            raise SnapshotError(
                f"split.{key}",
                gettext("split.%(key)s has no meaning here; known: %(defaults)s.")
                % {"key": key, "defaults": ", ".join(defaults)},
            )
    whole = defaults | split
    if type(whole["near"]) is not bool:
        raise SnapshotError("split.near", gettext("split.near must be true or false."))
    if whole["by"] == "metadata":
        if not isinstance(whole["key"], str):
            raise SnapshotError("split.key", gettext("split.key must be the name of a key of the tasks' metadata."))
    elif whole["by"] == "time":
        moment(whole["at"], "split.at")
    else:
        _number("split.eval_share", whole["eval_share"], 0, 0.9)
        if type(whole["seed"]) is not int:
            raise SnapshotError("split.seed", gettext("split.seed must be a whole number."))
    return whole


def _one_of(key: str, value: Any) -> None:
    if value not in (allowed := exporting.CHOICES[key]):
        raise SnapshotError(
            key,
            gettext("%(key)s must be one of %(allowed)s, not %(value)r.")
            % {"key": key, "allowed": ", ".join(allowed), "value": value},
        )


def _number(key: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SnapshotError(
            key,
            gettext("%(key)s must be a number from %(low)s to %(high)s, not %(value)r.")
            % {"key": key, "low": low, "high": high, "value": value},
        )


def _list_of(kind: type, words: str) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        if not isinstance(value, list) or not all(type(each) is kind for each in value):
            raise SnapshotError(
                key, gettext("%(key)s must be a list of %(words)s.") % {"key": key, "words": gettext(words)}
            )

    return check


def _is(kind: type, words: str) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        if type(value) is not kind:
            raise SnapshotError(key, gettext("%(key)s must be %(words)s.") % {"key": key, "words": gettext(words)})

    return check


def _words(key: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > LONGEST[key] or not value.isprintable():
        raise SnapshotError(
            key,
            gettext("%(key)s must be one line of at most %(longest)s characters.")
            % {"key": key, "longest": LONGEST[key]},
        )


CHECKS: dict[str, Callable[[str, Any], object]] = {
    "aggregation": _one_of,
    "ties": _one_of,
    "min_agreement": lambda key, value: _number(key, value, 0, 1),
    "flags": _one_of,
    "rulings": _one_of,
    "improved": _one_of,
    "deduplicate": _is(bool, gettext_noop("true or false")),
    "exclude_annotators": _list_of(str, gettext_noop("names")),
    "exclude_flags": _list_of(str, gettext_noop("names of flags")),
    "exclude_guidelines": _list_of(int, gettext_noop("numbers of versions of the guidelines")),
    "metadata": _is(dict, gettext_noop("an object of keys and values")),
    "since": lambda key, value: moment(value, key),
    "until": lambda key, value: moment(value, key),
    "guideline": _is(int, gettext_noop("the number of a version of the guidelines")),
    "threshold": lambda key, value: _number(key, value, -1e9, 1e9),
    "gap": lambda key, value: _number(key, value, 0, 1e9),
    "aspect": _is(str, gettext_noop("the name of an aspect")),
    "license": _words,
    "intended_use": _words,
}
