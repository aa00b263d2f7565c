"""Settings that somebody else changed while a form was open: told, and never undone unseen."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from annotation.models import Project
from annotation.questions import questions_of

Values = dict[str, Any]


def values_of(project: Project, fields: tuple[str, ...]) -> Values:
    """What the settings form says of a project, as JSON has it."""
    values = {name: getattr(project, name) for name in fields} | {"questions": questions_of(project)}
    found: Values = json.loads(json.dumps(values))
    return found


def seen_in(sent: str) -> Values | None:
    """The values that a form was made from; None where it does not say."""
    try:
        found = json.loads(sent)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("questions"), dict) else None


def merged(mine: Values, seen: Values, now: Values) -> tuple[Values, list[str]]:
    """`mine` with the changes of others in all that I left as I had `seen` it, and the names of what others changed.

    The parts of "questions" are told one by one, as questions.aspects.
    """
    told = [name for name in now if name != "questions" and now[name] != seen.get(name)]
    kept = {name: now[name] for name in told if mine.get(name) == seen.get(name)}
    asked, was, is_now = mine["questions"], seen["questions"], now["questions"]
    parts = [part for part in is_now if is_now[part] != was.get(part)]
    theirs = {part: is_now[part] for part in parts if asked.get(part) == was.get(part)}
    return now | mine | kept | {"questions": asked | theirs}, told + [f"questions.{part}" for part in parts]


def in_words(names: list[str], form: forms.Form, now: Values) -> list[tuple[str, str]]:
    """Each changed field with its value now, as the form would say it."""
    rows = []
    for name in names:
        if name.startswith("questions."):
            rows.append((name.partition(".")[2].replace("_", " ").capitalize(), ""))
            continue
        value = form.fields[name].prepare_value(now[name])
        choices = {str(key): label for key, label in getattr(form.fields[name], "choices", ())}
        key = str(int(value)) if isinstance(value, bool) else str(value)
        rows.append((str(form[name].label), str(choices.get(key, value))))
    return rows
