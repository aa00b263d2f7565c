"""Records of other tools in Hone's own fields: recognised by a file's first rows, or named.

One module a family. Each yields the records that annotation.records checks; fields it has no use for are passed on and
end as metadata, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError
from annotation.models import Kind
from annotation.reading import Read
from annotation.shapes import alpaca, argilla, chat, label_studio, mt_bench, own_rows, raw, stepwise, trl, ultrafeedback
from annotation.shapes.shape import Row, Shape, Target

__all__ = ["NAMES", "OWN", "SHAPES", "Shape", "Target", "detect", "records"]

OWN = Shape("hone", gettext_noop("Hone's own fields"), lambda row: True, lambda row, target: (row,))
SHAPES = {
    shape.name: shape
    for shape in (
        raw.SHAPE,
        label_studio.SHAPE,
        argilla.SHAPE,
        ultrafeedback.SHAPE,
        chat.SHAREGPT,
        trl.PAIRS,
        trl.BINARY,
        stepwise.SHAPE,
        trl.TRANSCRIPTS,
        chat.MESSAGES,
        alpaca.SHAPE,
        mt_bench.SHAPE,
        own_rows.RANKED,
        trl.TEXTS,
        OWN,
    )
}
NAMES = tuple(SHAPES)


def detect(rows: list[Row]) -> Shape:
    """The first shape that recognises every one of a file's first rows; Hone's own when there is none."""
    return next((shape for shape in SHAPES.values() if rows and all(map(shape.recognises, rows))), OWN)


def changes_nothing(shape: Shape, target: Target) -> bool:
    """Whether `records` gives rows of that shape as they are."""
    return shape is OWN and target.kind != Kind.RATING


def records(
    rows: Read, shape: Shape, target: Target, folder: Path | None = None
) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """What the rows become, each with the line it came from; a row that is not of that shape gives its error.

    `folder` is where the file lies: MT-bench keeps its questions beside the votes.
    """
    if changes_nothing(shape, target):
        yield from rows
        return
    if shape is OWN:
        yield from (
            (line, row if isinstance(row, CleaningError) else own_rows.rated(row, target)) for line, row in rows
        )
        return
    if shape is mt_bench.SHAPE:
        rows = mt_bench.gathered(rows, folder / "question.jsonl" if folder else None)
    if shape is raw.SHAPE:
        rows = raw.gathered(rows)
    for line, row in rows:
        if isinstance(row, CleaningError):
            yield line, row
            continue
        try:
            made = list(shape.records(row, target))
        except CleaningError as error:
            yield line, error
            continue
        for record in made:
            yield line, record
