"""Work in parts, each by a process with a core of its own: a batch to learn from, or prompts to answer.

One operation of a small model is too little work for two cores, and two threads of Python hold each other up between
operations: measured on two cores, a second thread made a step 1.1 times as fast, a second process 1.8 times.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from training.failures import RunError, is_out_of_memory

LANES = 2
SMALL = 50_000_000  # weights
SIZE = struct.Struct("!Q")
ALIGNED = 64  # bytes

Learn = Callable[[Any], Any]  # adds the gradients of a job to those of the weights; jobs and results are plain JSON


def count_for(model: nn.Module, method: str | None = None) -> int:
    """How many lanes suit a model that learns whole or through an adapter of `method`.

    One where there is one core to give, on a GPU, for a model that fills the cores by itself, where a dropout would
    draw other numbers in each process, and for adapters whose weights are exchanged while they learn.
    """
    weights = list(model.parameters())
    random = any(isinstance(each, nn.Dropout) and each.p for each in model.modules())
    random = random or bool(getattr(getattr(model, "config", None), "attention_dropout", 0.0))
    cores = torch.get_num_threads() >= LANES and weights[0].device.type == "cpu" and sys.platform == "linux"
    small = sum(weight.numel() for weight in weights) <= SMALL
    return LANES if cores and small and not random and method in (None, "lora") else 1


class Lanes:
    """This process, and others that share the weights, have gradients of their own and do the same work.

    To be entered before the first backward pass, which no process survives that is forked later. What `learn` does has
    to depend on the job and the weights alone; random numbers differ from process to process.
    """

    def __init__(self, weights: Sequence[Tensor], learn: Learn, count: int) -> None:
        self._weights, self._learn, self._count = list(weights), learn, count
        self._threads = torch.get_num_threads()
        self._twins: list[tuple[int, socket.socket, list[Tensor]]] = []

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Self:
        if self._count > 1:
            _put_into(self._weights, [weight.data for weight in self._weights])
            torch.set_num_threads(max(1, self._threads // self._count))
        for _ in range(self._count - 1):
            gradients = _put_into(None, [torch.zeros_like(weight) for weight in self._weights])
            ours, theirs = socket.socketpair()
            with warnings.catch_warnings():  # the heartbeat's thread holds nothing that the new process wants
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                ours.close()
                self._serve(theirs, gradients)
            theirs.close()
            self._twins.append((pid, ours, gradients))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pid, line, _ in self._twins:
            line.close()
            os.waitpid(pid, 0)
        torch.set_num_threads(self._threads)

    def split(self, rows: Sequence[Any], sizes: Sequence[int] | None = None) -> list[list[Any]]:
        """Every row in one of at most as many parts as there are lanes; none is empty.

        With the sizes of the rows no lane waits long for another, and rows of like size are together.
        """
        count = min(len(self), len(rows))
        if sizes is None:
            return [list(rows[lane::count]) for lane in range(count)]
        parts: list[list[Any]] = [[] for _ in range(count)]
        work = [0] * count
        for place in sorted(range(len(rows)), key=lambda place: -sizes[place]):
            least = work.index(min(work))
            parts[least].append(rows[place])
            work[least] += sizes[place]
        return parts

    def work(self, jobs: Sequence[Any]) -> list[Any]:
        """What `learn` returns for each of the jobs, at most one a lane; the weights have the sum of the gradients.

        They are added in the order of the jobs, whoever was first, so that a run repeats bit for bit.
        """
        mine, *others = jobs
        busy = list(zip(self._twins, others, strict=False))
        if len(busy) < len(others):
            raise ValueError(f"{len(jobs)} jobs for {len(self)} lanes")
        for (_, line, _), job in busy:
            with suppress(ConnectionError):  # seen below, where its answer is missing
                _send(line, job)
        found = [self._learn(mine)]
        for (pid, line, gradients), _ in busy:
            answer = _receive(line)
            if answer is None:
                raise RunError(f"Process {pid}, which computed a part of the batch, has ended.", "Resume the run.")
            if "error" in answer:
                raise MemoryError(answer["error"]) if answer["memory"] else RunError(answer["error"])
            found.append(answer["result"])
            for weight, gradient in zip(self._weights, gradients, strict=True):
                weight.grad = gradient.clone() if weight.grad is None else weight.grad.add_(gradient)
        return found

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While it lasts, this process has the threads of all lanes, which wait for their next job."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _serve(self, line: socket.socket, gradients: list[Tensor]) -> None:
        """Work until the other end is closed; never returns."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):  # the run is told, and ends its lanes
                signal.signal(number, signal.SIG_IGN)
            torch.set_num_threads(1)  # the threads of the process that was forked are not here
            for weight, gradient in zip(self._weights, gradients, strict=True):
                weight.grad = gradient
            while (job := _receive(line)) is not None:
                for gradient in gradients:
                    gradient.zero_()
                try:
                    answer = {"result": self._learn(job)}
                except Exception as error:  # the border of the process: the run says what happened
                    text = f"{type(error).__name__} in a part of the batch: {error}"
                    answer = {"error": text, "memory": is_out_of_memory(error)}
                _send(line, answer)
        finally:
            os._exit(0)


def _put_into(weights: Sequence[Tensor] | None, values: Sequence[Tensor]) -> list[Tensor]:
    """Copies of the values in memory that forked processes share, which `weights` then have as their data."""
    sizes = [-(-value.nbytes // ALIGNED) * ALIGNED for value in values]
    shared = torch.frombuffer(mmap.mmap(-1, max(1, sum(sizes))), dtype=torch.uint8)
    found, start = [], 0
    for number, value in enumerate(values):
        place = shared[start : start + value.nbytes].view(value.dtype).view(value.shape)
        place.copy_(value)
        if weights is not None:
            weights[number].data = place
        found.append(place)
        start += sizes[number]
    return found


def _send(line: socket.socket, message: Any) -> None:
    data = json.dumps(message).encode()
    line.sendall(SIZE.pack(len(data)) + data)


def _receive(line: socket.socket) -> Any:
    """The next message, None when the other end is closed."""
    with suppress(ConnectionError):
        head = line.recv(SIZE.size, socket.MSG_WAITALL)
        if len(head) == SIZE.size:
            size = SIZE.unpack(head)[0]
            data = line.recv(size, socket.MSG_WAITALL)
            return json.loads(data) if len(data) == size else None
    return None
