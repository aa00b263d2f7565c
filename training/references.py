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
        turned = [chosen > rejected for _, chosen, rejected in pairs]
        shown = [(pair[0], pair[2], pair[1]) if turn else pair for pair, turn in zip(pairs, turned, strict=True)]
        keys = [row_key(pair) for pair in shown]
        times, different = Counter(keys), dict(zip(keys, shown, strict=True))
        names, rows = list(different), list(different.values())
        done = 0
        for batch in in_order([sum(map(len, pair)) for pair in rows], batch_size):
            if any(names[row] not in self.rows for row in batch):
                first, second = compute([rows[row] for row in batch]).chunk(2)
                self._store([names[row] for row in batch], first.tolist(), second.tolist())
            done += sum(times[names[row]] for row in batch)
            progress(done)
        found = torch.tensor([self.rows[key] for key in keys]).reshape(len(pairs), 2)
        return torch.where(torch.tensor(turned, dtype=torch.bool)[:, None], found.flip(1), found).T

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
