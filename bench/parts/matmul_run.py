"""How fast the machine multiplies matrices at each turn of a bench: python -m bench.parts.matmul_run '{...}'"""

import json
import sys
import time
from pathlib import Path

import torch

from bench.parts import reference
from bench.parts.turns import Steps

PRODUCTS = 6  # of which the quickest counts: the rate is what no implementation can exceed


def main() -> None:
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    work = reference.load(Path(order["work"]))
    tokens = round(work.batch * (work.prompt + work.answer))
    a, b = torch.randn(tokens, work.hidden), torch.randn(work.hidden, work.feed_forward)
    operations = 2 * tokens * work.hidden * work.feed_forward
    steps, rates = Steps(order), []
    for _ in range(order["steps"]):
        steps.begin()
        rates.append(operations / min(_seconds(a, b) for _ in range(PRODUCTS)))
        steps.end()
    steps.begin()
    Path(order["out"]).write_text(json.dumps({"operations_per_second": rates}))


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    began = time.perf_counter()
    a @ b
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
