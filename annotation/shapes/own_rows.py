"""Rows of our own ranking and rating exports: the outcome is a judgement again where a person could have given it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError
from annotation.models import Kind
from annotation.shapes.shape import Row, Shape, Target, without


def _is_ranking(row: Row) -> bool:
    return isinstance(row.get("ranks"), list) and isinstance(row.get("responses"), list) and "prompt" in row


def _ranked(row: Row, target: Target) -> Iterator[Row]:
    """A ranking project takes the order of the mean places as a ranking; elsewhere they stay with the record."""
    if target.kind != Kind.RANKING or not target.annotator or "annotations" in row:
        yield row
        return
    ranks: Any = row.get("ranks")
    if not isinstance(ranks, list) or not all(type(rank) in (int, float) for rank in ranks):
        raise CleaningError("ranks", "Must be a list of numbers, one for each response.")
    if not isinstance(row.get("responses"), list) or len(ranks) != len(row["responses"]):
        raise CleaningError("ranks", f"There are {len(ranks)}; each response needs one.")
    places = [[index for index, one in enumerate(ranks) if one == rank] for rank in sorted(set(ranks))]
    judged = {"annotator": target.annotator, "body": {"ranking": places}}
    yield dict(without(row, "ranks")) | {"annotations": [judged]}


def rated(row: Row, target: Target) -> Row:
    """A completion beside whole ratings on aspects of the project is judged so; any other row is as it was."""
    asked = target.aspects
    if not asked.keys() & row.keys() or "completion" not in row or "annotations" in row or not target.annotator:
        return row
    ratings = {name: _whole(row[name]) for name in asked if row.get(name) is not None}
    if not ratings or not all(1 <= rating <= asked[name] for name, rating in ratings.items()):
        return row
    judged = {"annotator": target.annotator, "body": {"ratings": ratings}}
    return dict(without(row, *asked)) | {"annotations": [judged]}


def _whole(value: Any) -> int:
    """A rating, also when it is a mean or a cell's text; 0 where it is no whole number."""
    try:
        number = float(value) if type(value) in (int, float, str) else 0.0
    except ValueError:
        return 0
    return int(number) if number.is_integer() else 0


RANKED = Shape("hone-ranking", gettext_noop("Hone's ranking rows"), _is_ranking, _ranked)
