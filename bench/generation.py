"""Sampling beside transformers' own generate(): python bench/generation.py [--quick]

Both answer the same prompts with the same adapter on the same base, several answers a prompt, in turns within one
process. Every word is about equally likely and some of them end an answer, so that lengths vary as in real sampling;
what counts are the tokens up to the end of each answer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise bench/training.py would be `training`

from bench.parts import floor, reference  # noqa: E402

FASTER = 1.8


def main() -> None:
    options = arguments()
    work = replace(reference.Work(), rows=options.prompts, hidden=options.hidden, layers=options.layers)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        reference.build(Path(name), work)
        sides = prepared(Path(name), work, options)
        for answer in sides.values():
            answer(0)  # the first pass asks for memory
        tokens = 0
        rates: dict[str, list[float]] = {name: [] for name in sides}
        cpu: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(1, options.rounds + 1):
            for name, answer in sides.items():
                began, spent = time.monotonic(), time.process_time()
                tokens = answer(turn)
                rates[name].append(tokens / (time.monotonic() - began))
                cpu[name].append(tokens / (time.process_time() - spent))
    report(rates, cpu, work, lowest(work, options, tokens / (options.prompts * options.samples)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few prompts and one turn: under a minute")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4, help="answers to each prompt")
    parser.add_argument("--longest", type=int, default=256, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=7)
    options = parser.parse_args()
    if options.quick:
        options.prompts, options.samples, options.longest, options.rounds = 4, 4, 96, 2
    return options


def prepared(folder: Path, work: reference.Work, options: argparse.Namespace) -> dict[str, Callable[[int], int]]:
    """A function for each side: answers all prompts and returns how many tokens that were."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, GenerationConfig

    from training import data, rollout
    from training.policies import POLICY, SharedBase
    from training.runfile import Hardware

    torch.set_num_threads(options.threads)
    prompts = [prompt for prompt, _, _ in reference.texts(work)]
    stop = list(range(4, 4 + round(work.vocabulary / work.answer)))
    base = SharedBase(folder / "causal", Hardware(device="cpu", threads=options.threads))
    base.load(POLICY, folder / "adapter")
    peer: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / "causal"), folder / "adapter")
    peer.eval()
    ids, mask = data.pad([prompt for prompt in prompts for _ in range(options.samples)], 0, left=True)
    settings = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=options.longest, pad_token_id=0,
        eos_token_id=stop,
    )  # fmt: skip
    endings = torch.tensor(stop)

    def hone(turn: int) -> int:
        with base.answering_as(POLICY) as lm:
            rolled = rollout.sample(
                lm, prompts, stop=stop, pad_id=0, max_new_tokens=options.longest, samples=options.samples,
                generator=torch.Generator().manual_seed(turn),
            )  # fmt: skip
        return int(rolled.lengths.sum())

    @torch.no_grad()
    def generate(turn: int) -> int:
        torch.manual_seed(turn)
        written = peer.generate(input_ids=ids, attention_mask=mask, generation_config=settings)[:, ids.shape[1] :]
        ended = torch.isin(written, endings).int()
        return int((ended.cumsum(dim=1) - ended == 0).sum())  # up to the first that ends the answer, that one included

    return {"hone": hone, "generate": generate}


def lowest(work: reference.Work, options: argparse.Namespace, answer: float) -> dict[str, float]:
    """Tokens a second of the bare arithmetic, at the rate at which all answers at once are multiplied with a matrix."""
    prompt = statistics.fmean(len(prompt) for prompt, _, _ in reference.texts(work))
    operations = floor.answering(work, prompt, answer, options.samples) / answer
    speed = floor.matmul_rate(options.threads, options.prompts * options.samples, work.hidden, work.feed_forward)
    return {"rate": speed / operations, "gigaflops": speed / 1e9}


def report(
    rates: dict[str, list[float]], cpu: dict[str, list[float]], work: reference.Work, low: dict[str, float]
) -> None:
    """The table for a person and the line for a program."""
    middle = {name: statistics.median(values) for name, values in rates.items()}
    spent = {name: statistics.median(values) for name, values in cpu.items()}
    for name, values in rates.items():
        span = f"[{min(values):.0f}, {max(values):.0f}]"
        print(f"{name:9} {middle[name]:8.0f} tokens/s {span:16} {spent[name]:8.0f} by processor second")
    faster, leaner = middle["hone"] / middle["generate"], spent["hone"] / spent["generate"]
    print(f"hone × {faster:.2f} generate(), by processor time × {leaner:.2f}")
    share = {name: value / low["rate"] for name, value in middle.items()}
    print(
        f"floor {low['rate']:.0f} tokens/s at {low['gigaflops']:.1f} GFLOP/s: "
        + ", ".join(f"{name} at {value:.0%}" for name, value in share.items())
    )
    results: dict[str, Any] = {"floor": low, "of_floor": share}
    results |= {"tokens_per_second": middle, "tokens_per_cpu_second": spent, "parameters": work.parameters}
    goal = {"value": round(faster, 3), "target": FASTER, "met": faster >= FASTER}
    device = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"bench": "generation", "device": device, "results": results, "targets": {"faster": goal}}))


if __name__ == "__main__":
    main()
