"""How fast the machine multiplies matrices at each turn of a bench: python -m bench.parts.matmul_run '{...}'"""

import json
import sys
import time
from pathlib import Path

import torch

from bench.parts.turns import Steps

PRODUCTS = 6  # of which the quickest counts: the rate is what no implementation can exceed


def main() -> None:
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    steps, rates = Steps(order), []
    for _ in range(order["steps"]):
        steps.begin()
        rates.append(rate(*order["shape"]))
        steps.end()
    steps.begin()
    Path(order["out"]).write_text(json.dumps({"operations_per_second": rates}))


def rate(tokens: int, wide: int, narrow: int) -> float:
    """Floating-point operations a second of a product of this shape."""
    a, b = torch.randn(tokens, wide), torch.randn(wide, narrow)
    return 2 * tokens * wide * narrow / min(_seconds(a, b) for _ in range(PRODUCTS))


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    began = time.perf_counter()
    a @ b
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
