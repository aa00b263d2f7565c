"""The records of one source in batches: by columns where a whole batch is plain, and as they came elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

from annotation.cleaning import CleaningError
from annotation.duplicates import Sketches, sketches_of
from annotation.reading.pieces import Piece, Raw
from annotation.short_check import Plain, ShortCheck


class Batch(NamedTuple):
    """Records with their lines: in `came`, or in `plain` with what is to be known of their prompts."""

    lines: list[int]
    came: list[dict[str, Any] | CleaningError]
    plain: Plain | None = None
    sketches: Sketches | None = None

    def rows(self) -> Iterator[Raw]:
        """Each record with its line, to be looked at alone."""
        return zip(self.lines, self.plain.records() if self.plain else self.came, strict=True)


def batches(pieces: Iterable[Piece], short: ShortCheck | None) -> Generator[Batch, None, None]:
    """One for each piece of the source; without a short check none is taken for plain. It asks no database."""
    for piece in pieces:
        if short and piece.columns and (plain := short.columns_of(piece.columns)):
            yield Batch(piece.lines, [], plain, sketches_of(piece.columns["prompt"]))
        else:
            rows = list(piece.rows())
            yield Batch([line for line, _ in rows], [row for _, row in rows])
