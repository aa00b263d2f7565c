"""One learning run of Hone's engine, in a process of its own: python -m bench.parts.learning_hone '{...}'"""

from __future__ import annotations

import json
import math
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
    return expected(demo, leads[-1]) | {"counted": report["eval"]["accuracy"]}


def expected(demo: Demo, leads: list[float]) -> dict[str, Any]:
    """The expected agreement of these leads with the judges, and of the truth, by the judges' known noise."""
    import pyarrow.parquet as parquet

    rows = parquet.read_table(demo.pairs / "eval.parquet", columns=["prompt", "chosen", "rejected"]).to_pylist()
    pairs = [(row["prompt"], row["chosen"][-1]["content"], row["rejected"][-1]["content"]) for row in rows]
    assert len(pairs) == len(leads)
    right = chosen = 0.0
    for (prompt, a, b), lead in zip(pairs, leads, strict=True):
        for for_a, for_b in demo.truth.verdicts(prompt, a, b):
            chosen += for_a + for_b
            right += for_a if lead > 0 else for_b if lead < 0 else (for_a + for_b) / 2
    return {"expected": right / chosen, "ceiling": demo.truth.ceiling(pairs), "n": len(pairs)}


def ppo(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """True utility and KL of PPO's policy before it learns and after every few steps."""
    from training import ppo as engine
    from training.policies import POLICY

    short = {"value_warmup_steps": order["steps"] // 6, "eval_prompts": 8, "sample_every": 0}
    config, run = start(demo, order, "ppo", steps=order["steps"], **short | order.get("params", {}))
    prompts, points = demo.prompts(order["prompts"]), []
    players: list[Any] = []

    def look(step: int) -> None:
        base, tokenizer = players[0].base, players[0].tokenizer
        speaks = (partial(base.speaking_as, POLICY), partial(base.speaking_as, players[0].reference))
        found = learning_world.measure(*speaks, prompts, tokenizer, truth=demo.truth, scorer=players[0].scorer)
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


def best_of_n(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """True utility of the best of n answers by the reward model, for every n, from `most` answers to each prompt.

    With the answers ordered by score, the best of n drawn from all is the i-th with chance C(i-1, n-1) / C(most, n).
    Its KL to the policy it draws from is at most log n - (n - 1) / n: Beirami et al. (2024). `kl` is an
    estimate of the KL itself, see `best_kl`.
    """
    from training import answers, data, models
    from training.policies import SharedBase, SharedScorer
    from training.prompts import Prompt

    most, config = order["most"], start(demo, order, "ppo")[0]
    models.prepare(config.hardware, order["seed"])
    tokenizer = models.load_tokenizer(config, Path(order["folder"]))
    base = SharedBase(demo.start, config.hardware)
    scorer = SharedScorer(base, demo.reward)
    asked = [
        Prompt(row["id"], row["prompt"], data.encode_prompt(tokenizer, row["prompt"]))
        for row in demo.prompts(order["prompts"])
    ]
    written = answers.write_in_batches(
        base, None, asked, tokenizer, batch_size=4, seed=order["seed"], samples=most,
        max_new_tokens=learning_world.ANSWER_TOKENS,
    )  # fmt: skip
    scores = answers.scores(scorer, [each.answered for each in written], 128, tokenizer.pad_token_id).tolist()
    worth = [demo.truth.utility(each.prompt.messages, each.text) for each in written]
    points = []
    for n in (2**power for power in range(int(math.log2(most)) + 1)):
        chances = [math.comb(i, n - 1) / math.comb(most, n) for i in range(most)]
        total = dict.fromkeys(("utility", "score", "kl"), 0.0)
        for first in range(0, len(written), most):
            order_of = sorted(range(first, first + most), key=scores.__getitem__)
            drifted = best_kl([math.exp(written[row].logp) for row in order_of], [scores[row] for row in order_of], n)
            for chance, row, drift in zip(chances, order_of, drifted, strict=True):
                total["utility"] += chance * worth[row]
                total["score"] += chance * scores[row]
                total["kl"] += chance * drift
        bound = math.log(n) - (n - 1) / n
        points.append({"n": n, "bound": bound} | {key: value / len(asked) for key, value in total.items()})
    return {"points": points}


def best_kl(chances: list[float], scores: list[float], n: int) -> list[float]:
    """By how much the best of n likes each of some answers more than the policy that wrote them does, in nats.

    An answer of chance p among answers of which a share F scores lower is the best of n with chance (F + p)^n - F^n,
    Beirami et al. (2024). `chances` are exact; F is counted among the answers, which are in order of score
    and of which those with the same score are taken for one.
    """
    found = []
    for chance, score in zip(chances, scores, strict=True):
        below = sum(other < score for other in scores) / len(scores)
        share = max(min(chance, 1 - below), 1e-300)
        # A long answer's chance is far below what a difference of two powers can show.
        growth = (
            math.log(math.expm1(n * math.log1p(share / below))) + n * math.log(below) if below else n * math.log(share)
        )
        found.append(growth - math.log(share))
    return found


STUDIES = {"reward": reward, "ppo": ppo, "dpo": dpo, "best_of_n": best_of_n}

if __name__ == "__main__":
    main()
