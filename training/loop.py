"""Steps until the end: what every method does around its own arithmetic, so that each stops and resumes alike.

A method says what one step is; the loop sets the rate, logs, stores a checkpoint when one is due and leaves when it is
asked to. A checkpoint comes before a look at held-out data, which may be stopped half-way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from training import budget, checkpoints, data, memory, models
from training.failures import OutOfMemory, is_out_of_memory
from training.rundir import RunDir
from training.runfile import RunFile
from training.schedule import learning_rate, set_rate

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Done:
    """What one step was."""

    metrics: Metrics
    samples: int
    tokens: int


@dataclass(frozen=True)
class Look:
    """What is measured or shown between steps: every so many (0: never), and never after the last."""

    every: int
    take: Callable[[int], Metrics]

    def wanted(self, step: int, total: int) -> bool:
        return bool(self.every) and step % self.every == 0 and step < total


class Loop:
    """The steps of a run from where it stands: the weights and optimizers of its last checkpoint are put back."""

    def __init__(
        self,
        config: RunFile,
        run: RunDir,
        weights: Mapping[str, Tensor],
        optimizers: Mapping[str, Optimizer],
        total: int,
        remember: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """`remember` is what else a step depends on, as plain values; `restored` brings it back, None at the start."""
        self.config, self.run, self.total, self.remember = config, run, total, remember
        self.weights, self.optimizers = dict(weights), dict(optimizers)
        self.first, self.tokens = 1, 0
        self._told: set[str] = set()
        self.smaller = self._smaller  # what to do when a step does not fit into memory
        self.restored: dict[str, Any] | None = None
        if checkpoint := checkpoints.latest(run):
            models.put_back(self.weights, checkpoint.tensors())
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(checkpoint.state[name])
            checkpoints.restore_rng(checkpoint.state["rng"])
            self.first, self.tokens = checkpoint.step + 1, checkpoint.state["tokens"]
            self.restored = checkpoint.state

    def go(self, one_step: Callable[[int], Done], looks: Sequence[Look] = ()) -> None:
        """Take the steps that are left, then drop what the optimizers remember, twice the size of what learnt."""
        params, run = self.config.params, self.run
        run.phase("training", self.total, step=self.first - 1)
        for step in range(self.first, self.total + 1):
            began = time.monotonic()
            rate = learning_rate(params, step, self.total)
            for optimizer in self.optimizers.values():
                set_rate(optimizer, rate)
            done = self._fitting(one_step, step)
            seconds = time.monotonic() - began
            self.tokens += done.tokens
            speed = {"tokens_per_s": done.tokens / seconds, "samples_per_s": done.samples / seconds}
            run.log(step, **done.metrics, lr=rate, **speed)
            due = params.checkpoint_every and step % params.checkpoint_every == 0
            wanted = [look for look in looks if look.wanted(step, self.total)]
            if due or wanted or step == self.total or run.stop_requested:
                self._save(step)
            run.leave_if_stopped()
            for look in wanted:
                run.log(step, **look.take(step))
        for optimizer in self.optimizers.values():
            optimizer.state.clear()

    def warn(self, step: int, texts: Sequence[str]) -> None:
        """Say what is wrong, each thing once."""
        for text in texts:
            if text not in self._told:
                self.run.say("warning", f"Step {step}: {text}")
                self._told.add(text)

    def _fitting(self, one_step: Callable[[int], Done], step: int) -> Done:
        """The step done, or OutOfMemory with the setting under which it would fit."""
        device = next(iter(self.weights.values())).device
        before = memory.held(device)
        try:
            return one_step(step)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            most = memory.peak(device) + memory.asked(error)
            share = memory.share_that_fits(before, most, memory.there(device))
            first = (str(error) or "nothing is left").splitlines()[0]
            raise OutOfMemory(f"Out of memory at step {step}: {first}", self.smaller(share)) from error

    def _smaller(self, share: float) -> str:
        """What to do so that a step takes this share of the memory: fewer answers in one update."""
        params = self.config.params
        allowed = [n for n in range(1, params.minibatch) if params.rollout_batch % n == 0]
        if not allowed:
            return f"The minibatch is as small as it gets: set params.max_new_tokens to {params.max_new_tokens // 2}."
        fits = max([n for n in allowed if n <= params.minibatch * share], default=1)
        return f"Set params.minibatch to {fits} (it is {params.minibatch}), which should fit, and run again."

    def _save(self, step: int) -> None:
        state: dict[str, Any] = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        state |= {"rng": checkpoints.capture_rng(), "tokens": self.tokens}
        checkpoints.save(self.run, step, self.weights, state | self.remember())


def over_rows(
    config: RunFile,
    run: RunDir,
    model: nn.Module,
    lengths: Sequence[int],
    one_batch: Callable[[list[int]], Metrics],
    *,
    wrapper: Any = None,
    looks: Sequence[Look] = (),
    most_at_once: int | None = None,
) -> Loop:
    """The whole training of what learns in `model` on rows of these lengths, by AdamW; returns the loop when it ended.

    `one_batch` computes the gradients of some rows and returns their loss and other metrics, in parts of at most
    `most_at_once` tokens where that is given. `wrapper` is what holds the adapter, where that is not `model` itself.
    """
    params = config.params
    weights = models.trainable(model)
    optimizer = torch.optim.AdamW(weights, lr=params.learning_rate, weight_decay=params.weight_decay, fused=True)
    total, per_epoch = data.steps_of(lengths, params)
    budget.follow(wrapper or model, optimizer, total, run)
    loop = Loop(config, run, models.learning(model), {"optimizer": optimizer}, total)
    plan = data.batches_from(lengths, params, seed=config.seed, first_step=loop.first)

    def one_step(step: int) -> Done:
        _, rows = next(plan)
        metrics = dict(one_batch(rows))
        norm, loss = clip_grad_norm_(weights, params.max_grad_norm).item(), metrics["loss"]
        assert loss is not None
        run.require_finite(step, loss=loss, grad_norm=norm)
        optimizer.step()
        optimizer.zero_grad()
        return Done(
            metrics | {"grad_norm": norm, "epoch": step / per_epoch}, len(rows), sum(lengths[row] for row in rows)
        )

    def smaller(share: float) -> str:
        """The batch size whose longest rows are this share of what one pass held."""
        longest = max(lengths)
        whole = params.batch_size * longest
        fits = int(share * min(whole, max(longest, most_at_once or whole)))
        if fits >= longest:
            size = fits // longest
            return f"Set params.batch_size to {size} (it is {params.batch_size}), which should fit, and run again."
        return f"Not even the longest row fits: set params.max_length to {max(8, fits)}, or take a smaller model."

    loop.smaller = smaller
    loop.go(one_step, looks)
    return loop
