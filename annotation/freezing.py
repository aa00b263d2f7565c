"""Judgements that may not change any more, because a dataset was cut from them.

This application knows no datasets. Whoever cuts them registers a look-up here when it is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.utils.translation import gettext

from annotation.models import Annotation

Lookup = Callable[[list[Annotation]], dict[int, str]]

_lookups: list[Lookup] = []


class Frozen(Exception):
    """The judgement is part of a dataset and stays as it is."""


def register(lookup: Lookup) -> None:
    """Ask `lookup` too: for annotations it gives {id: name of what holds it} for those that are held."""
    if lookup not in _lookups:
        _lookups.append(lookup)


def holders(annotations: Iterable[Annotation]) -> dict[int, str]:
    """{annotation id: name of the dataset that holds it}, for those of `annotations` that are frozen."""
    asked = list(annotations)
    found: dict[int, str] = {}
    for lookup in _lookups:
        if asked:
            found |= lookup(asked)
    return found


def check(annotation: Annotation) -> None:
    """Nothing when the annotation may still change, else Frozen with the reason."""
    if name := holders([annotation]).get(annotation.pk):
        raise Frozen(
            gettext("This answer is part of %(name)s, so it cannot change any more. Tell a reviewer what is wrong.")
            % {"name": name}
        )
