"""Files that somebody might send: broken, wrong, or out to do harm. Each with the sentence that it must get.

A case is `name: (bytes, line, field, words)`. `line` is 0 where the file as a whole cannot be read, and None where the
file is fine and must come in exactly as it is.
"""

from tests.annotation.hostile import containers, encodings, fields, tables, texts

Case = tuple[bytes, int | None, str, str]

CORPUS: dict[str, Case] = {
    **encodings.FILES,
    **texts.FILES,
    **tables.FILES,
    **containers.FILES,
    **fields.FILES,
}
