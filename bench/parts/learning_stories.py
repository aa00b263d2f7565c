"""A second world to learn in, stories260k judged by a hidden utility: python -m bench.parts.learning_stories '{...}'

The model goes on from openings such as "Tom was a small cat." What a continuation is worth is a stated mix that can be
computed of any text: it names the hero, uses kind words, is about 25 words long, comes to an end and says nothing
twice. Three judges prefer one of two by Bradley-Terry noise of known size. Nothing is downloaded: the model itself
writes what is learnt from, cut after a few sentences so that it learns to stop.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

NAMES = ("Tom", "Lily", "Ben", "Sue", "Max", "Mia", "Sam", "Amy", "Tim", "Anna", "Jack", "Lucy")
HEROES = ("cat", "dog", "girl", "boy", "bird", "bear", "frog", "fish", "bunny", "duck", "mouse", "pig")
KINDS = ("small", "big", "little", "happy", "sad")
KIND_WORDS = ("happy", "smile", "friend", "love", "help", "play", "hug", "together", "thank", "share")
KIND_WORTH, MOST_KIND_WORDS = 0.5, 3
TARGET_WORDS, WORDS_A_POINT, MOST_LOST = 25, 10, 2.5
JUDGES = (0.5, 0.7, 0.9)  # temperatures in units of utility; higher is noisier
ANSWER_TOKENS = 64
DEMONSTRATIONS, PAIRS, VOTED_PAIRS, HELD_OUT_PAIRS, ASKED = 480, 2400, 10_000, 600, 200
APART = 1000  # between the seeds of two worlds
ADAPTER = {"method": "lora", "r": 16, "alpha": 32}
Message = dict[str, str]


class Truth:
    """What a continuation is worth, and what the judges make of two."""

    def utility(self, prompt: Sequence[Message], text: str) -> float:
        words = re.findall(r"[a-z']+", text.lower())
        hero = prompt[-1]["content"].split()[0].lower()
        kind = sum(any(word.startswith(each) for word in words) for each in KIND_WORDS)
        lost = min(MOST_LOST, abs(len(words) - TARGET_WORDS) / WORDS_A_POINT)
        triples = list(zip(words, words[1:], words[2:], strict=False))
        ends = text.strip().endswith((".", "!", "?", '"'))
        worth = KIND_WORTH * min(kind, MOST_KIND_WORDS) - lost
        return worth + (hero in words) + ends - (len(set(triples)) < len(triples))

    def verdicts(self, prompt: Sequence[Message], a: str, b: str) -> list[tuple[float, float]]:
        """P(a preferred) and P(b preferred) by each judge: Bradley and Terry (1952)."""
        gap = self.utility(prompt, a) - self.utility(prompt, b)
        found = [1 / (1 + math.exp(-gap / temperature)) for temperature in JUDGES]
        return [(share, 1 - share) for share in found]

    def ceiling(self, pairs: Iterable[tuple[Sequence[Message], str, str]]) -> float:
        """How often the truth itself is expected to agree with the judges."""
        shares = [max(each) for pair in pairs for each in self.verdicts(*pair)]
        return sum(shares) / len(shares)


def openings(seed: int) -> list[list[Message]]:
    """All prompts, in an order that the seed decides."""
    rng = random.Random(seed)
    found = [f"{name} was a {kind} {hero}." for name, kind, hero in itertools.product(NAMES, KINDS, HEROES)]
    rng.shuffle(found)
    return [[{"role": "user", "content": text}] for text in found]


def main() -> None:
    order = json.loads(sys.argv[1])
    build(Path(order["folder"]), Path(order["model"]), order["threads"], order["world"])


def build(folder: Path, model: Path, threads: int, world: int) -> None:
    """The data folder that the studies read: a model that stops, judged pairs, a reward model and the run files.

    `world` seeds all that is drawn but the prompts, which stay the same. Policies learn from pairs that one judge each
    has seen, the reward model from others that all of them have.
    """
    asked = openings(seed=0)
    held_out, known = asked[:ASKED], asked[ASKED:]
    hardware = {"device": "cpu", "threads": threads, "dtype": "float32"}
    common = {"seed": world, "hardware": hardware}
    rng, seeds = random.Random(world + 1), itertools.count(world * APART)

    written = answers_of(model, known[:DEMONSTRATIONS], hardware, samples=1, template="plain")
    shown = [(prompt, cut(text, rng.randint(1, 4))) for prompt, text in written]
    rows = [{"prompt": prompt, "completion": said(text)} for prompt, text in shown if text]
    demonstrations = snapshot(folder / "demonstrations", "sft", rows, [])
    base = {"path": str(model)}
    params = {"learning_rate": 1e-3, "epochs": 2, "batch_size": 16, "max_length": 160}
    sft = {"kind": "sft", "base_model": base, "template": "plain", "snapshot": demonstrations, "params": params}
    start = {"path": str(learn(folder / "sft", sft | common))}

    twice = {"hardware": hardware, "samples": 2, "template": None}

    def answered(prompts: list[list[Message]], pairs: int) -> list[tuple[list[Message], str]]:
        times = -(-pairs // len(prompts))
        some = (answers_of(Path(start["path"]), prompts, seed=next(seeds), **twice) for _ in range(times))
        return [each for found in some for each in found][: 2 * pairs]

    held = judged(answered(held_out, HELD_OUT_PAIRS), rng)
    pairs = snapshot(folder / "pairs", "preference", judged(answered(known, PAIRS), rng), held)
    votes = judged(answered(known, VOTED_PAIRS), rng, everybody=True)
    voted = snapshot(folder / "votes", "preference", votes, held)
    rows_of = {"batch_size": 16, "max_length": 160}
    reward = {"kind": "reward", "base_model": start, "adapter": ADAPTER, "snapshot": voted}
    # One pass: three, in smaller batches, learnt the judges' noise by heart (docs/benchmarks.md).
    reward |= {"params": rows_of | {"learning_rate": 2e-3, "epochs": 1}} | common
    scorer = {"path": str(learn(folder / "reward", reward))}
    policy = {"base_model": start, "adapter": ADAPTER, "reference": "base", "snapshot": pairs} | common
    dpo = policy | {"kind": "dpo", "params": rows_of | {"learning_rate": 6e-4, "beta": 0.5}}
    # The pace and the price that did best on the demo's world (docs/benchmarks.md); none was tried on this one.
    sampling = {"rollout_batch": 64, "minibatch": 64, "ppo_epochs": 4, "max_new_tokens": ANSWER_TOKENS}
    ppo = policy | {"kind": "ppo", "reward_model": scorer, "params": sampling | {"learning_rate": 1e-3, "beta": 0.2}}
    lines = [{"id": str(number), "prompt": prompt} for number, prompt in enumerate(held_out)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = {"sft": sft | common, "reward": reward, "dpo": dpo, "ppo": ppo}
    folders = {"sft": str(folder / "sft"), "reward": str(folder / "reward"), "evaluate": str(folder)}
    (folder / "world.json").write_text(json.dumps({"runs": runs, "folders": folders}))


def learn(folder: Path, data: dict[str, Any]) -> Path:
    """The model of a run of the engine."""
    from training import __main__ as engine

    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(data))
    if engine.main([str(folder)]):
        raise SystemExit((folder / "log.txt").read_text("utf-8"))
    return folder / "model"


def answers_of(
    model: Path, prompts: Sequence[list[Message]], hardware: dict[str, Any], *, samples: int, template: str | None,
    seed: int = 0,
) -> list[tuple[list[Message], str]]:  # fmt: skip
    """(prompt, text) of each answer, those of one prompt side by side."""
    from training import answers, data, models, runfile
    from training.policies import SharedBase
    from training.prompts import Prompt

    given = {"kind": "generate", "base_model": {"path": str(model)}, "template": template, "hardware": hardware}
    config = runfile.check(given | {"prompts": "prompts.jsonl"})
    models.prepare(config.hardware, seed)
    tokenizer = models.load_tokenizer(config, model)
    asked = [Prompt(str(n), prompt, data.encode_prompt(tokenizer, prompt)) for n, prompt in enumerate(prompts)]
    base = SharedBase(model, config.hardware)
    written = answers.write_in_batches(
        base, None, asked, tokenizer, batch_size=64, seed=seed, samples=samples, max_new_tokens=ANSWER_TOKENS
    )
    return [(each.prompt.messages, each.text) for each in written]


def judged(
    written: Sequence[tuple[list[Message], str]], rng: random.Random, *, everybody: bool = False
) -> list[dict[str, Any]]:
    """What one of the judges, or each of them, says of each two answers side by side; of identical ones nothing."""
    truth, rows = Truth(), []
    for number, ((prompt, a), (_, b)) in enumerate(zip(written[::2], written[1::2], strict=True)):
        if not a.strip() or not b.strip() or a.strip() == b.strip():
            continue
        verdicts = truth.verdicts(prompt, a, b)
        for for_a, _ in verdicts if everybody else [rng.choice(verdicts)]:
            chosen, rejected = (a, b) if rng.random() < for_a else (b, a)
            row = {"prompt": prompt, "chosen": said(chosen), "rejected": said(rejected)}
            rows.append(row | {"task_id": number})
    return rows


def cut(text: str, sentences: int) -> str:
    """The first few whole sentences of a text; nothing where there is no whole one."""
    return "".join(re.findall(r'[^.!?]*[.!?]"?', text)[:sentences])


def said(text: str) -> list[Message]:
    """With the space that was lost when the text was read without its prompt."""
    return [{"role": "assistant", "content": f" {text.strip()}"}]


def snapshot(folder: Path, kind: str, train: list[Any], held_out: list[Any]) -> dict[str, str]:
    """A snapshot folder as the site writes them, ready to be named in a run file."""
    import pyarrow
    import pyarrow.parquet as parquet

    folder.mkdir(parents=True)
    files = {}
    schema = pyarrow.Table.from_pylist(train).schema
    for split, rows in (("train", train), ("eval", held_out)):
        path = folder / f"{split}.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)
        files[path.name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"kind": kind, "files": files}))
    return {"path": str(folder)}


if __name__ == "__main__":
    main()
