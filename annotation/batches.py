"""The records of one source in batches: by columns where a whole batch is plain, and as they came elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from annotation.cleaning import CleaningError
from annotation.duplicates import Sketches, sketches_of
from annotation.short_check import Plain, ShortCheck

Raw = tuple[int, "dict[str, Any] | CleaningError"]


class Batch(NamedTuple):
    """Records with their lines: in `came`, or in `plain` with what is to be known of their prompts."""

    lines: list[int]
    came: list[dict[str, Any] | CleaningError]
    plain: Plain | None = None
    sketches: Sketches | None = None

    def rows(self) -> Iterator[Raw]:
        """Each record with its line, to be looked at alone."""
        return zip(self.lines, self.plain.records() if self.plain else self.came, strict=True)


def batches(rows: Iterable[Raw], short: ShortCheck | None, size: int) -> Generator[Batch, None, None]:
    """`size` records at a time; without a short check none of them is taken for plain. It asks no database."""
    waiting = iter(rows)
    while some := list(islice(waiting, size)):
        lines, came = [line for line, _ in some], [row for _, row in some]
        plain = short.columns_of(came) if short else None
        yield Batch(lines, [], plain, sketches_of(plain.prompts)) if plain else Batch(lines, came)
