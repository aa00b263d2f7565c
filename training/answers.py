"""What a policy answers, as text for people and as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training import forward, losses, rollout
from training.forward import Answered
from training.policies import Scorer, SharedBase
from training.prompts import Prompt
from training.rundir import RunDir

SHOWN = 8  # samples written for people each time; the figures are over all prompts


@dataclass(frozen=True)
class Answer:
    prompt: Prompt
    text: str
    ids: list[int]  # EOS included where there is one
    finish: str  # eos or length
    logp: float  # of the whole answer, in nats, at the sampling temperature

    @property
    def answered(self) -> Answered:
        return self.prompt.ids, self.ids


def write(
    base: SharedBase,
    name: str | None,
    prompts: Sequence[Prompt],
    tokenizer: Any,
    *,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    samples: int = 1,
) -> list[Answer]:
    """`samples` answers to each prompt by adapter `name`, side by side; the same seed gives the same answers."""
    generator = torch.Generator(base.device).manual_seed(seed)
    with base.answering_as(name) as lm:
        rolled = rollout.sample(
            lm,
            [prompt.ids for prompt in prompts],
            stop=rollout.stop_ids(lm, tokenizer),
            pad_id=tokenizer.pad_token_id,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            samples=samples,
            generator=generator,
        )
    texts = tokenizer.batch_decode([rolled.answer(row) for row in range(len(rolled.prompts))], skip_special_tokens=True)
    return [
        Answer(prompts[row // samples], text, ids, rolled.finish(row), logp)
        for row, (text, ids, logp) in enumerate(
            zip(texts, rolled.answers(), rolled.logps.sum(dim=1).tolist(), strict=True)
        )
    ]


def write_in_batches(
    base: SharedBase,
    name: str | None,
    prompts: Sequence[Prompt],
    tokenizer: Any,
    *,
    batch_size: int,
    seed: int,
    run: RunDir | None = None,
    **settings: Any,
) -> list[Answer]:
    """The same for many prompts; with `run`, one that was asked to stop leaves between two batches."""
    found: list[Answer] = []
    for start in range(0, len(prompts), batch_size):
        if run:
            run.leave_if_stopped()
        batch = prompts[start : start + batch_size]
        found += write(base, name, batch, tokenizer, seed=(seed * 1_000_003 + start) % 2**63, **settings)
    return found


def in_batches(answered: Sequence[Answered], batch_size: int, compute: Callable[[list[Answered]], Tensor]) -> Tensor:
    """(N, ...) of `compute` over rows of like length, in the order given; narrower results are padded with zeros."""
    order = sorted(range(len(answered)), key=lambda row: -sum(map(len, answered[row])))
    pieces = [
        compute([answered[row] for row in order[start : start + batch_size]])
        for start in range(0, len(order), batch_size)
    ]
    if pieces[0].ndim == 2:
        width = max(piece.shape[1] for piece in pieces)
        pieces = [torch.nn.functional.pad(piece, (0, width - piece.shape[1])) for piece in pieces]
    return torch.cat(pieces)[torch.tensor(order, device=pieces[0].device).argsort()]


def scores(scorer: Scorer, answered: Sequence[Answered], batch_size: int, pad_id: int) -> Tensor:
    """(N,) raw scores of the reward model."""
    return in_batches(answered, batch_size, lambda rows: scorer.score(rows, pad_id))


@torch.no_grad()
def drift(
    policy: Callable[[], AbstractContextManager[Any]],
    reference: Callable[[], AbstractContextManager[Any]],
    batch: forward.Batch,
    *,
    temperature: float,
) -> Tensor:
    """(A, 2): exact KL(policy, reference) and its k3 estimate, summed over the tokens of each answer, in nats.

    `policy` and `reference` are `speaking_as` of either the same base or two of one vocabulary.
    """
    with policy() as lm:
        own, block = forward.hidden_states(lm, batch, batch.sources), forward.block_of(lm)
    with reference() as ref:
        other = forward.hidden_states(ref, batch, batch.sources)
    pieces = []
    for mine, theirs, targets in zip(own.split(block), other.split(block), batch.targets.split(block), strict=True):
        logits = forward.head_logits(lm, mine) / temperature
        ref_logits = forward.head_logits(ref, theirs) / temperature
        logps = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        ref_logps = ref_logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        pieces.append(torch.stack([losses.exact_kl(logits, ref_logits), losses.kl_k3(logps, ref_logps)], dim=1))
    sums = pieces[0].new_zeros(len(batch.lengths), 2)
    return sums.index_add(0, batch.rows, torch.cat(pieces))


def distinct(answers: Sequence[Sequence[int]], n: int) -> float:
    """Different n-grams of tokens over all n-grams, in all answers together: Li et al. (2016)."""
    grams = [tuple(ids[i : i + n]) for ids in answers for i in range(len(ids) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


class BeforeAndAfter:
    """Answers to the same held-out prompts before training and at any later step."""

    def __init__(
        self,
        base: SharedBase,
        name: str | None,
        prompts: Sequence[Prompt],
        tokenizer: Any,
        scorer: Scorer | None,
        run: RunDir,
        *,
        batch_size: int,
        seed: int,
        **settings: Any,
    ) -> None:
        """To be made before a checkpoint is put back: what the policy says now is what it said before."""
        self.base, self.name, self.prompts, self.tokenizer, self.scorer = base, name, prompts, tokenizer, scorer
        self.run, self.batch_size, self.seed, self.settings = run, batch_size, seed, settings
        self.before = self._write(may_leave=True)
        self.scores_before = self._scores(self.before)

    def show(self, step: int, *, last: bool = False) -> tuple[list[Answer], Tensor | None]:
        """Write samples for people; returns all answers of the policy as it is now, and their raw scores.

        Between two steps nobody leaves in here, for what was learnt has yet to be stored; at the end (`last`) it is.
        """
        after = self._write(may_leave=last)
        found = self._scores(after)
        for row, (old, new) in enumerate(zip(self.before[:SHOWN], after, strict=False)):
            sample = {"step": step, "prompt": new.prompt.messages, "before": old.text, "after": new.text}
            if found is not None and self.scores_before is not None:
                sample |= {"reward_before": self.scores_before[row].item(), "reward_after": found[row].item()}
            self.run.sample(sample)
        return after, found

    def pass_by(self, step: int) -> dict[str, float]:
        """Write samples between two steps; returns the mean raw score, where there is a scorer, as a metric."""
        _, found = self.show(step)
        return {} if found is None else {"eval_score": found.mean().item()}

    def _write(self, *, may_leave: bool) -> list[Answer]:
        # The same seed each time, so that a difference between two steps comes from the policy.
        return write_in_batches(
            self.base,
            self.name,
            self.prompts,
            self.tokenizer,
            batch_size=self.batch_size,
            seed=self.seed,
            run=self.run if may_leave else None,
            **self.settings,
        )

    def _scores(self, answers: Sequence[Answer]) -> Tensor | None:
        if self.scorer is None or not answers:
            return None
        return scores(self.scorer, [a.answered for a in answers], self.batch_size, self.tokenizer.pad_token_id)
