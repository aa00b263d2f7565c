"""Sampling beside transformers' own generate(): python bench/generation.py [--quick]

Both answer the same prompts with the same adapter on the same base, several answers a prompt, in turns within one
process, and at each turn the rate of matrix products is taken and adapters are switched as well. Every word is about
equally likely and some of them end an answer, so that lengths vary as in real sampling; what counts are the tokens up
to the end of each answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # otherwise bench/training.py would be `training`

from bench.parts import floor, reference  # noqa: E402
from bench.parts.turns import device, spread  # noqa: E402

FASTER = 1.8
SWITCH = 0.2  # milliseconds
SWITCHES = 50  # at each turn


def main() -> None:
    options = arguments()
    work = replace(reference.Work(), rows=options.prompts, hidden=options.hidden, layers=options.layers)
    turns: list[dict[str, Turn]] = []
    switches: list[dict[str, float]] = []
    speeds = []
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as name:
        reference.build(Path(name), work)
        sides, switched = prepared(Path(name), work, options)
        from bench.parts import matmul_run  # torch, which so far has been asked for nothing here

        for turn in range(options.rounds + 1):
            turns.append({side: Turn.of(answer, turn) for side, answer in sides.items()})
            switches.append({side: milliseconds(switch) for side, switch in switched.items()})
            speeds.append(matmul_run.rate(options.prompts * options.samples, work.hidden, work.feed_forward))
    found = summed_up(turns[1:], speeds[1:], work, options)  # the first pass asks for memory
    report(found | {"switch_ms": {side: statistics.median(each[side] for each in switches) for side in switched}})


def milliseconds(switch: Callable[[], None]) -> float:
    """Of one switch of the adapter that speaks."""
    began = time.perf_counter()
    for _ in range(SWITCHES):
        switch()
    return 1e3 * (time.perf_counter() - began) / SWITCHES


@dataclass(frozen=True)
class Turn:
    """What one pass over all prompts took."""

    tokens: int
    seconds: float
    cpu_seconds: float

    @classmethod
    def of(cls, answer: Callable[[int], int], number: int) -> Turn:
        began, spent = time.monotonic(), time.process_time()
        tokens = answer(number)
        return cls(tokens, time.monotonic() - began, time.process_time() - spent)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few prompts and two turns: under a minute")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=4, help="answers to each prompt")
    parser.add_argument("--longest", type=int, default=160, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=3, help="timed turns of either side")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--caches", action="store_true", help="also other caches, all by the modules of transformers")
    options = parser.parse_args()
    if options.quick:
        options.prompts, options.samples, options.longest, options.rounds = 4, 4, 96, 2
    return options


def prepared(
    folder: Path, work: reference.Work, options: argparse.Namespace
) -> tuple[dict[str, Callable[[int], int]], dict[str, Callable[[], None]]]:
    """For each side, what answers all prompts and returns how many tokens that were, and what switches its adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig, StaticCache
    from transformers.cache_utils import StaticLayer

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

    def speak() -> None:
        with base.speaking_as(POLICY):
            pass  # two switches, of which the second goes back

    usual = rollout.keep_rows

    def keep_rows(cache: Any, rows: Any) -> None:
        if any(isinstance(layer, StaticLayer) for layer in cache.layers):
            for layer in cache.layers:  # which has no way to do it
                layer.keys, layer.values = layer.keys[rows], layer.values[rows]
        else:
            usual(cache, rows)

    def with_cache(made: Callable[[Any], Any]) -> Callable[[int], int]:
        """Hone's loop with another cache, every step by the model's own modules."""

        def answer(turn: int) -> int:
            replaced = {"make_cache": made, "keep_rows": keep_rows, "steps_of": lambda *_: None}
            with ExitStack() as stack:
                for name, other in replaced.items():
                    stack.enter_context(patch.object(rollout, name, other))
                return hone(turn)

        return answer

    most = max(map(len, prompts)) + options.longest
    caches: dict[str, Callable[[Any], Any]] = {
        "reserved": rollout.make_cache,  # what Hone uses: grows by 64 tokens at a time
        "growing": lambda model: DynamicCache(config=model.config),  # by one, which copies all of them
        "static": lambda model: StaticCache(config=model.config, max_cache_len=most),  # all of it attended to
    }
    others = {name: with_cache(made) for name, made in caches.items()} if options.caches else {}
    return {"hone": hone, "generate": generate} | others, {"hone": speak, "peft": lambda: peer.set_adapter("default")}


def summed_up(
    turns: list[dict[str, Turn]], speeds: list[float], work: reference.Work, options: argparse.Namespace
) -> dict[str, Any]:
    """Medians over the turns with their middle halves; the floor is the bare arithmetic of Hone's answers."""
    prompt = statistics.fmean(len(prompt) for prompt, _, _ in reference.texts(work))
    floors = []  # tokens a second, at each turn
    for speed, sides in zip(speeds, turns, strict=True):
        answer = sides["hone"].tokens / (options.prompts * options.samples)
        floors.append(speed * answer / floor.answering(work, prompt, answer, options.samples))
    found: dict[str, Any] = {"parameters": work.parameters, "floor": statistics.median(floors)}
    for side in turns[0]:
        mine = [each[side] for each in turns]
        found[side] = {
            "per_second": spread([each.tokens / each.seconds for each in mine]),
            "per_cpu_second": spread([each.tokens / each.cpu_seconds for each in mine]),
            "of_floor": statistics.median(
                each.tokens / each.seconds / limit for each, limit in zip(mine, floors, strict=True)
            ),
        }
    for name, clock in (("faster", "seconds"), ("less_cpu", "cpu_seconds")):
        pairs = [(each["hone"], each["generate"]) for each in turns]
        found[name] = spread([a.tokens / getattr(a, clock) / (b.tokens / getattr(b, clock)) for a, b in pairs])
    return found


def report(found: dict[str, Any]) -> None:
    """The table for a person and the line for a program."""
    for side in (side for side in found if isinstance(found[side], dict) and "per_second" in found[side]):
        wall, processor = found[side]["per_second"], found[side]["per_cpu_second"]
        print(
            f"{side:9}{wall['median']:7.0f} tokens/s [{wall['low']:.0f}, {wall['high']:.0f}]  "
            f"{processor['median']:6.0f} a processor second  {found[side]['of_floor']:.0%} of the floor"
        )
    faster, less = found["faster"], found["less_cpu"]
    print(
        f"hone × {faster['median']:.2f} generate() [{faster['low']:.2f}, {faster['high']:.2f}], "
        f"by processor time × {less['median']:.2f}; floor {found['floor']:.0f} tokens/s"
    )
    switch = found["switch_ms"]
    print(f"adapter switch: {switch['hone']:.3f} ms there and back, PEFT's set_adapter {switch['peft']:.1f} ms")
    targets = {
        "faster": {"value": round(faster["median"], 3), "target": FASTER, "met": faster["median"] >= FASTER},
        "switch": {"value": round(switch["hone"], 4), "target": SWITCH, "met": switch["hone"] <= SWITCH},
    }
    print(json.dumps({"bench": "generation", "device": device(), "results": found, "targets": targets}))


if __name__ == "__main__":
    main()
