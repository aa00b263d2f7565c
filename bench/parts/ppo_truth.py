"""A small world in which answers have a worth that neither side is told: python -m bench.parts.ppo_truth '{...}'

Every word has a hidden worth, and repeating words costs. Judges compare random answers with noise; a reward model
learns from them, and both sides learn from that reward model alone. What their policies then write is worth can be
counted.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.parts import ppo_work, reference

FIRST = 4  # the ids below are no words
PAIRS = 1200
SURE = 2.0  # how much a unit of worth sways a judge, as a logit
HELD_OUT, SAMPLES = 64, 4


def work_of(rows: int, seed: int) -> reference.Work:
    """A model of a hundred thousand weights with 60 words."""
    return reference.Work(
        vocabulary=64, hidden=64, layers=2, heads=4, feed_forward=128, rank=16, prompt=8.0, answer=16.0, rows=rows,
        seed=seed,
    )  # fmt: skip


def worth(words: list[int], seed: int) -> float:
    """The mean worth of the words of an answer and the share of them that are new; nothing for an empty one."""
    chance = random.Random(seed + 77)
    values = [chance.gauss(0, 1) for _ in range(64)]
    said = [word for word in words if word >= FIRST]
    return statistics.fmean(values[word] for word in said) + len(set(said)) / len(said) if said else 0.0


def build(folder: Path, work: reference.Work, ppo: ppo_work.PPOWork) -> None:
    """The models, and a reward model that learnt the hidden worth from noisy judgements."""
    from training import models, reward, rundir, runfile

    ppo_work.build(folder, work, ppo)
    chance = random.Random(work.seed)
    judged = []
    for prompt, one, other in reference.texts(replace(work, rows=PAIRS)):
        lead = SURE * (worth(one, work.seed) - worth(other, work.seed))
        first = chance.random() < 1 / (1 + math.exp(-lead))
        judged.append((prompt, one, other) if first else (prompt, other, one))
    reference.write_snapshots(folder / "judged", judged)
    order = {
        "schema": 1,
        "kind": "reward",
        "name": "judges",
        "seed": work.seed,
        "base_model": {"path": str(folder / "causal")},
        "adapter": {"method": "lora", "r": work.rank, "alpha": 2 * work.rank, "targets": "all-linear"},
        "snapshot": {"path": str(folder / "judged" / "preference")},
        "params": {"learning_rate": 1e-3, "batch_size": 16, "epochs": 2.0},
        "hardware": {"device": "cpu", "threads": 1, "dtype": "float32"},
    }
    run_folder = folder / "runs" / "judges"
    run_folder.mkdir(parents=True)
    (run_folder / "run.json").write_text(json.dumps(order))
    config = runfile.read(run_folder / "run.json")
    reward.train(config, rundir.RunDir(run_folder))
    learnt = models.load_reward(run_folder / "model", folder / "causal", config.hardware, 0)
    learnt.merge_and_unload().save_pretrained(folder / "classifier")
    (run_folder / "model").rename(folder / "learnt_reward")


def measured(folder: Path, adapter: Path | None) -> dict[str, float]:
    """What the answers of a policy to prompts that it never saw are truly worth, and how far it went from its start."""
    import torch

    from training import answers, forward, rollout
    from training.policies import POLICY, SharedBase
    from training.runfile import Hardware

    work, ppo = reference.load(folder), ppo_work.load(folder)
    prompts = [prompt for prompt, _, _ in reference.texts(work_of(HELD_OUT, work.seed + 1_000))]
    base = SharedBase(folder / "causal", Hardware(device="cpu", threads=1))
    if adapter:
        base.load(POLICY, adapter)
    name = POLICY if adapter else None
    with base.answering_as(name) as lm:
        rolled = rollout.sample(
            lm, prompts, stop=[1], pad_id=0, max_new_tokens=ppo.longest, temperature=ppo.temperature, samples=SAMPLES,
            generator=torch.Generator().manual_seed(7),
        )  # fmt: skip
    found = [worth(words, work.seed) for words in rolled.answers()]
    batch = forward.pack_answers(list(zip(rolled.prompts, rolled.answers(), strict=True)), 0, base.device)
    far = answers.drift(
        lambda: base.speaking_as(name), lambda: base.speaking_as(None), batch, temperature=ppo.temperature
    )
    lengths = [float(len(words)) for words in rolled.answers()]
    return {
        "worth": statistics.fmean(found),
        "error": statistics.stdev(found) / math.sqrt(HELD_OUT),  # answers to one prompt count as one
        "kl": float(far[:, 0].mean()),
        "length": statistics.fmean(lengths),
    }


def main() -> None:
    order: dict[str, Any] = json.loads(sys.argv[1])
    adapter = Path(order["adapter"]) if order["adapter"] else None
    Path(order["out"]).write_text(json.dumps(measured(Path(order["work"]), adapter)))


if __name__ == "__main__":
    main()
