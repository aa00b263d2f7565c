"""Log-probabilities under the reference policy, computed once and kept on disk for every later run."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from training.data import in_order
from training.forward import Pair
from training.runfile import ModelRef, file_hash, model_hash
from training.shown import Shown


class ReferenceCache:
    """(chosen, rejected) log-probabilities by row, in one file per reference.

    The file's name covers the weights of base and adapter, the adapter's settings, the number format and the `bits` in
    which frozen weights are kept, where they are quantised; a row's key covers its token ids, and so its text and the
    chat template that wrote it.
    """

    def __init__(
        self, folder: Path, base: ModelRef, adapter: ModelRef | None, dtype: torch.dtype, bits: int | None
    ) -> None:
        parts = [base.sha256 or model_hash(base.path), str(dtype)]
        parts += [f"{bits} bits"] if bits else []
        if adapter:
            parts += [adapter.sha256 or model_hash(adapter.path), file_hash(adapter.path / "adapter_config.json")]
        self.path = folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.jsonl"
        self.rows: dict[str, tuple[float, float]] = {}
        if self.path.is_file():
            for line in self.path.read_text("utf-8").splitlines():
                self._read(line)

    def logps(
        self,
        pairs: Sequence[Pair],
        batch_size: int,
        compute: Callable[[Sequence[Pair]], Tensor],
        progress: Callable[[int], None],
    ) -> Tensor:
        """(2, N): chosen and rejected. `compute` gives (2B,) for the batches that are not all known yet.

        The same two answers are computed once, however often and whichever way round they were judged. Batches do not
        depend on what is known, and a value once stored stays: a run that was killed in here goes on with the very
        numbers of one that was not.
        """
        shown = Shown.among(pairs)
        keys = [row_key(row) for row in shown.rows]
        times, done = Counter(shown.places), 0
        for batch in in_order(shown.lengths, batch_size):
            if any(keys[row] not in self.rows for row in batch):
                first, second = compute([shown.rows[row] for row in batch]).chunk(2)
                self._store([keys[row] for row in batch], first.tolist(), second.tolist())
            done += sum(times[row] for row in batch)
            progress(done)
        return shown.judged(torch.tensor([self.rows[key] for key in keys]).reshape(len(keys), 2).T)

    def _store(self, keys: Sequence[str], chosen: Sequence[float], rejected: Sequence[float]) -> None:
        lines = []
        for key, *values in zip(keys, chosen, rejected, strict=True):
            if key not in self.rows:
                self.rows[key] = (values[0], values[1])
                lines.append(json.dumps([key, *values]))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:  # one write; a line break first, in case a line was cut off
            file.write("\n" + "\n".join(lines) + "\n")

    def _read(self, line: str) -> None:
        try:
            key, chosen, rejected = json.loads(line)
            self.rows.setdefault(key, (float(chosen), float(rejected)))
        except (ValueError, TypeError):
            return  # blank, or half written when its process was killed


def cache_folder(run_path: Path) -> Path:
    """Where references are shared between the runs of a registry; a run alone keeps its own."""
    root = os.environ.get("HONE_DATA")
    return Path(root) / "cache" / "reference" if root else run_path / "cache" / "reference"


def row_key(pair: Pair) -> str:
    return hashlib.sha256(json.dumps(pair).encode()).hexdigest()
