"""Parquet, gzip and zip: cut, damaged, wrong, or far larger inside than out."""

import gzip
import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

from tests.annotation.hostile.encodings import GOOD

MANY = b"".join(GOOD.replace(b'"p"', b'"p %d"' % number) for number in range(300))


def parquet(rows: list[dict[str, object]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


PAIRS = [{"prompt": f"p {number}", "response_a": "x", "response_b": "y"} for number in range(200)]
GZIP = gzip.compress(MANY, mtime=0)
# 80 MB of spaces in some 80 kB: the same packed million again and again, which is one gzip file too.
BOMB = gzip.compress(GOOD, mtime=0) + gzip.compress(b" " * 1_000_000, mtime=0) * 80

FILES = {
    "whole.parquet": (parquet(PAIRS), None, "", ""),
    "cut.parquet": (parquet(PAIRS)[:-40], 0, "", "not a sound Parquet"),
    "cut-in-the-middle.parquet": (parquet(PAIRS)[:300], 0, "", "not a sound Parquet"),
    "magic-only.parquet": (b"PAR1PAR1", 0, "", "not a sound Parquet"),
    "text.parquet": (b"this is text", 0, "", "not a sound Parquet"),
    "no-rows.parquet": (parquet(PAIRS)[:0] or b"PAR1", 0, "", "not a sound Parquet"),
    "null-prompt.parquet": (parquet([*PAIRS[:2], {"response_a": "x", "response_b": "y"}]), 3, "prompt", "missing"),
    "numbers.parquet": (parquet([{"prompt": 1, "response_a": "x", "response_b": "y"}]), 1, "prompt", "not a number"),
    "nan.parquet": (
        parquet([{"prompt": "p", "response_a": "x", "response_b": "y", "score": float("nan")}]), 1, "metadata.score",
        "finite",
    ),
    "bytes.parquet": (
        parquet([{"prompt": b"\xff", "response_a": "x", "response_b": "y"}]), 1, "prompt", "raw bytes",
    ),
    "whole.jsonl.gz": (GZIP, None, "", ""),
    "cut.jsonl.gz": (GZIP[:-30], 0, "", "middle of its gzip"),
    "damaged.jsonl.gz": (GZIP[:60] + b"\xff" * 40 + GZIP[100:], 0, "", "gzip data"),
    "gzip-in-name-only.jsonl.gz": (MANY, None, "", ""),
    "bomb.jsonl.gz": (BOMB, 0, "", "unpacks to more than"),
    "whole.zip": (zipped(**{"folder/pairs.jsonl": MANY}), None, "", ""),
    "cut.zip": (zipped(**{"pairs.jsonl": MANY})[:-30], 0, "", "damaged"),
    "bomb.zip": (zipped(**{"pairs.jsonl": GOOD + b" " * 80_000_000}), 0, "", "unpacks to more than"),
    "two-files.zip": (zipped(**{"a.jsonl": MANY, "b.jsonl": MANY}), 0, "", "holds 2 files"),
    "leads-out.zip": (zipped(**{"../../pairs.jsonl": MANY}), 0, "", "leads out of it"),
    "absolute.zip": (zipped(**{"/etc/pairs.jsonl": MANY}), 0, "", "leads out of it"),
    "empty.zip": (zipped(), 0, "", "holds 0 files"),
    "picture.png": (b"\x89PNG\r\n\x1a\n" + b"\x00" * 60, 0, "", "not known"),
    "program.exe": (b"MZ\x90\x00" + b"\x00" * 60, 0, "", "not known"),
}  # fmt: skip
