"""One learning run of Hone's engine, in a process of its own: python -m bench.parts.learning_hone '{...}'"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from bench.parts import learning_world
from bench.parts.learning_world import Demo


def main() -> None:
    order = json.loads(sys.argv[1])
    demo = learning_world.find(Path(order["data"]))
    found = STUDIES[order["study"]](demo, order)
    Path(order["out"]).write_text(json.dumps(found))


def start(demo: Demo, order: dict[str, Any], kind: str, **params: Any) -> tuple[Any, Any]:
    """(the checked run file, its run directory) of one run; `order` names the seed, the folder and the threads."""
    from training import rundir, runfile

    folder = Path(order["folder"])
    folder.mkdir(parents=True)
    hardware = {"device": "cpu", "threads": order["threads"], "dtype": "float32"}
    if kind == "ppo":
        params = {"value_warmup_steps": 0} | params  # a run may be shorter than the demo's own warm-up
    known = demo.run_file(kind, order["seed"], checkpoint_every=0, **params) | {"hardware": hardware}
    (folder / "run.json").write_text(json.dumps(known))
    return runfile.read(folder / "run.json"), rundir.RunDir(folder)


def reward(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """How often a reward model trained with this seed agrees with the judges, counted and as their noise foretells."""
    from training import reward as engine
    from training import reward_figures, rundir

    config, run = start(demo, order, "reward", **order.get("params", {}))
    leads: list[list[float]] = []
    usual = reward_figures.judged

    def judged(found: list[float], *args: Any) -> Any:
        leads.append(list(found))
        return usual(found, *args)

    reward_figures.judged = judged
    engine.train(config, run)
    report = rundir.read_report(run.path)
    assert report is not None
    return expected(demo, held_out(config, run), leads[-1]) | {"counted": report["eval"]["accuracy"]}


def held_out(config: Any, run: Any) -> list[tuple[Any, str, str]]:
    """(prompt, chosen, rejected) of each held-out pair that the engine reads: it leaves out empty and equal answers."""
    from training import data, models, reward_rows

    tokenizer, (limit, _) = models.load_tokenizer(config, run.path), models.longest(config)
    rows = [row | {"task_id": row.get("task_id")} for row in data.rows(config, "eval")]
    read = reward_rows.READERS["preference"]
    encoder = data.Encoder(tokenizer)
    used = [row for row in rows if read(encoder, row, limit, config.params, ())[0]]
    return [(row["prompt"], row["chosen"][-1]["content"], row["rejected"][-1]["content"]) for row in used]


def expected(demo: Demo, pairs: list[tuple[Any, str, str]], leads: list[float]) -> dict[str, Any]:
    """The expected agreement of these leads with the judges, and of the truth, by the judges' known noise."""
    right = chosen = 0.0
    for (prompt, a, b), lead in zip(pairs, leads, strict=True):
        for for_a, for_b in demo.truth.verdicts(prompt, a, b):
            chosen += for_a + for_b
            right += for_a if lead > 0 else for_b if lead < 0 else (for_a + for_b) / 2
    return {"expected": right / chosen, "ceiling": demo.truth.ceiling(pairs), "n": len(pairs)}


def ppo(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """True utility and KL of PPO's policy before it learns and after every few steps."""
    from training import ppo as engine

    short = {"value_warmup_steps": order["steps"] // 12, "eval_prompts": 8, "sample_every": 0}
    config, run = start(demo, order, "ppo", steps=order["steps"], **short | order.get("params", {}))
    prompts, points = demo.prompts(order["prompts"]), []
    players: list[Any] = []

    def look(step: int) -> None:
        now = players[0]
        policy = partial(now.base.speaking_as, now.policy)
        reference = partial(now.reference_base.speaking_as, now.reference)
        found = learning_world.measure(policy, reference, prompts, now.tokenizer, truth=demo.truth, scorer=now.scorer)
        points.append(found | {"step": step})

    gather, evaluate = engine.gather, engine.evaluate
    done = 0

    def gathering(found: Any, *args: Any, **keys: Any) -> Any:
        nonlocal done
        players[:] = [found]
        if done % order["every"] == 0:
            look(done)
        done += 1
        return gather(found, *args, **keys)

    def evaluating(*args: Any, **keys: Any) -> Any:
        look(done)
        return evaluate(*args, **keys)

    engine.gather, engine.evaluate = gathering, evaluating
    engine.train(config, run)
    return {"points": points}


def dpo(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """True utility and KL of the policy that DPO ends with."""
    from training import dpo as engine

    config, run = start(demo, order, "dpo", max_steps=order["steps"], sample_prompts=0)
    engine.train(config, run)
    return adapter(demo, run.path / "model", order, config)


def adapter(demo: Demo, folder: Path, order: dict[str, Any], config: Any) -> dict[str, Any]:
    """`measure` of the trained adapter in `folder`."""
    from training import models
    from training.policies import POLICY, SharedBase

    base = SharedBase(demo.start, config.hardware)
    base.load(POLICY, folder)
    tokenizer = models.load_tokenizer(config, folder)
    speaks = (partial(base.speaking_as, POLICY), partial(base.speaking_as, None))
    return learning_world.measure(*speaks, demo.prompts(order["prompts"]), tokenizer, truth=demo.truth)


STUDIES = {"reward": reward, "ppo": ppo, "dpo": dpo}

if __name__ == "__main__":
    main()
