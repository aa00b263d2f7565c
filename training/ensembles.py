"""A reward model whose members have an adapter and a score head each, all of them on one frozen base.

The first member lies in the model's folder and the others in folders below it, as PEFT writes several adapters, and
plain PEFT loads each. Members that differ in nothing but their random beginnings are the deep ensembles of
Lakshminarayanan et al. (2017), which learn from all rows alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from training import adapters
from training.runfile import MEMBER, Adapter

FIRST = "default"  # PEFT writes the adapter of this name into the folder itself


def names(members: int) -> list[str]:
    """How the adapters of an ensemble are called, which is also where they are saved."""
    return [FIRST, *(f"{MEMBER}{number}" for number in range(2, members + 1))]


def folders(folder: Path, members: int) -> list[Path]:
    """Where each member of the ensemble in `folder` lies."""
    return [folder, *(folder / name for name in names(members)[1:])]


def attach(model: Any, adapter: Adapter, members: int, start: Path | None = None) -> Any:
    """`model` with that many new adapters that learn; copies of those in `start` where an ensemble goes on."""
    starts = folders(start, members) if start else [None] * members
    for name, beginning in zip(names(members), starts, strict=True):
        model = adapters.attach(model, adapter, task="reward", name=name, start=beginning)
    core = adapters.core(model)
    if not start:
        for name in names(members)[1:]:  # PEFT copies the first head, so that all would begin alike
            nn.init.normal_(core.score.modules_to_save[name].weight, std=core.config.initializer_range)
    for key, weight in core.named_parameters():  # PEFT lets the last one learn alone
        weight.requires_grad_(any(f".{name}." in f"{key}." for name in names(members)))
    return model


def load(model: Any, folder: Path, members: int) -> Any:
    """`model` with all members of the ensemble in `folder`, by plain PEFT."""
    first, *others = folders(folder, members)
    model = adapters.load(model, first)
    for other in others:
        with adapters.quiet_peft():
            model.load_adapter(other, adapter_name=other.name)
    return model


def outputs(model: Any, compute: Callable[[], Tensor]) -> Tensor:
    """(N, O) what all members say, side by side; `compute` gives what one says, (N, A) of whoever acts then."""
    found = [compute() for _ in _turns(adapters.core(model))]
    return found[0] if len(found) == 1 else torch.cat(found, dim=1)


def count(model: Any) -> int:
    """How many passes a score of `model` takes: one for each member with an adapter of its own."""
    return len(_heads(adapters.core(model)))


def _heads(core: Any) -> list[str]:
    score = getattr(core, "score", None)
    return list(score.modules_to_save) if isinstance(score, ModulesToSaveWrapper) else [""]


def _turns(core: Any) -> Iterator[None]:
    """A turn for each member, who alone acts in it; a model that is no such ensemble has one, and is left as it is.

    Only the active names move: PEFT's `set_adapter` would also decide who learns.
    """
    members = _heads(core)
    if len(members) < 2:
        yield
        return
    places = [*adapters.layers_of(core), core.score]
    try:
        for name in members:
            for place in places:
                place._active_adapter = [name]
            yield
    finally:
        for place in places:
            place._active_adapter = [FIRST]
