"""The models and judgements of a demo or of stories260k, and how well a policy does by the truth that made them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ANSWERS_AT_ONCE = 128
PROMPTS_AT_ONCE = 100
ANSWERS = 4  # to each prompt in each look
ANSWER_TOKENS = 64  # the demo's own limit


class DemoTruth:
    """What replies to customers are worth, and what the demo's raters make of two."""

    def utility(self, prompt: Any, text: str) -> float:
        from rlhf.demo.utility import utility

        return utility(prompt, text)

    def verdicts(self, prompt: Any, a: str, b: str) -> list[tuple[float, float]]:
        """P(a preferred) and P(b preferred) by each rater, who calls the rest a tie."""
        from rlhf.demo.raters import RATERS, TIE

        gap = self.utility(prompt, a) - self.utility(prompt, b)
        leans = [rater.lean(gap) for rater in RATERS]
        return [(1 / (1 + math.exp(TIE - lean)), 1 / (1 + math.exp(TIE + lean))) for lean in leans]

    def ceiling(self, pairs: Iterable[tuple[Any, str, str]]) -> float:
        """How often the truth itself is expected to agree with the raters."""
        from rlhf.demo.raters import noise_ceiling

        return noise_ceiling(pairs)


@dataclass(frozen=True)
class Demo:
    """What a demo left in its data folder: run files with absolute paths, by kind."""

    runs: dict[str, dict[str, Any]]
    folders: dict[str, Path]
    truth: Any = field(default_factory=DemoTruth)

    @property
    def start(self) -> Path:
        """The model after supervised fine-tuning, where every policy here begins."""
        return self.folders["sft"] / "model"

    @property
    def reward(self) -> Path:
        return self.folders["reward"] / "model"

    @property
    def pairs(self) -> Path:
        return Path(self.runs["dpo"]["snapshot"]["path"])

    def prompts(self, most: int) -> list[dict[str, Any]]:
        """Held-out prompts, about pairs of product and problem that no training text holds."""
        lines = (self.folders["evaluate"] / "prompts.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines][:most]

    def run_file(self, kind: str, seed: int, **params: Any) -> dict[str, Any]:
        """The demo's own settings of a kind of run, with another seed and these changes."""
        known = self.runs[kind]
        return known | {"seed": seed, "params": known["params"] | params}


def find(data: Path) -> Demo:
    """The first finished run of each kind in the demo's data folder, or what is known of stories260k."""
    if (data / "world.json").is_file():
        from bench.parts.learning_stories import Truth

        known = json.loads((data / "world.json").read_text("utf-8"))
        return Demo(known["runs"], {kind: Path(path) for kind, path in known["folders"].items()}, Truth())
    runs: dict[str, dict[str, Any]] = {}
    folders: dict[str, Path] = {}
    for path in sorted((data / "runs").iterdir(), key=lambda path: (len(path.name), path.name)):
        if not (path / "report.json").is_file():
            continue
        known = json.loads((path / "run.json").read_text("utf-8"))
        if known["kind"] in runs:
            continue
        for key in ("base_model", "start_adapter", "reward_model", "snapshot"):
            if known.get(key):  # the engine alone takes paths as they are; hashes were checked when they were made
                known[key] = {"path": str((data / known[key]["path"]).resolve())}
        runs[known["kind"]], folders[known["kind"]] = known, path.resolve()
    if missing := {"sft", "reward", "dpo", "ppo", "evaluate"} - runs.keys():
        raise SystemExit(f"{data} holds no finished {', '.join(sorted(missing))} run: make it with manage.py demo.")
    return Demo(runs, folders)


Speaker = Callable[[], AbstractContextManager[Any]]  # the model while it speaks as somebody


def measure(
    policy: Speaker,
    reference: Speaker,
    prompts: Sequence[dict[str, Any]],
    tokenizer: Any,
    *,
    truth: Any,
    scorer: Any = None,
) -> dict[str, Any]:
    """Mean true utility and exact KL to the reference of `ANSWERS` answers to each prompt, at temperature 1.

    With a `scorer`, what the reward model gives as well, so that one sees which of the two stopped rising.
    """
    import torch

    from training import answers, data, forward, rollout

    generator = torch.Generator().manual_seed(0)
    answered: list[Any] = []
    worth: list[float] = []
    for first in range(0, len(prompts), PROMPTS_AT_ONCE):
        some = prompts[first : first + PROMPTS_AT_ONCE]
        with policy() as lm:
            rolled = rollout.sample(
                lm, [data.encode_prompt(tokenizer, prompt["prompt"]) for prompt in some],
                stop=rollout.stop_ids(lm, tokenizer), pad_id=tokenizer.pad_token_id,
                max_new_tokens=ANSWER_TOKENS, samples=ANSWERS, generator=generator,
            )  # fmt: skip
            device = lm.device
        rows = [rolled.answer(row) for row in range(len(rolled.prompts))]
        texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
        worth += [truth.utility(some[row // ANSWERS]["prompt"], text) for row, text in enumerate(texts)]
        answered += zip(rolled.prompts, rolled.answers(), strict=True)
    pack = partial(forward.pack_answers, pad_id=tokenizer.pad_token_id, device=device)
    drift = answers.in_batches(
        answered, ANSWERS_AT_ONCE, lambda rows: answers.drift(policy, reference, pack(rows), temperature=1.0)
    )
    found = {
        "utility": sum(worth) / len(worth),
        "kl": drift[:, 0].mean().item(),
        "tokens": sum(len(answer) for _, answer in answered) / len(answered),
        "n": len(worth),
    }
    if scorer is not None:
        scores = answers.scores(scorer, answered, ANSWERS_AT_ONCE, tokenizer.pad_token_id)
        found["score"] = scores.mean().item()
    return found
