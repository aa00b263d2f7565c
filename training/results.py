"""The end of a policy's run: the model on disk, proved by loading it back, and the last figures of its metrics."""

from __future__ import annotations

from typing import Any

import torch

from training import forward, models, reports
from training.policies import SharedBase
from training.rundir import RunDir, read_metrics
from training.runfile import RunFile


def save_checked(
    base: SharedBase,
    policy: str | None,
    probe: forward.Batch,
    tokenizer: Any,
    config: RunFile,
    run: RunDir,
    **facts: Any,
) -> dict[str, Any]:
    """Write model/, load it back the plain way and compare it on `probe`; returns the reload check of the report.

    `base` is used up by it, so that no two models are held at a time.
    """
    run.phase("saving")
    with torch.no_grad(), base.speaking_as(policy) as lm:
        before = forward.answer_logps(lm, probe).tolist()
    folder = models.save_policy(base, tokenizer, run, config, **facts)
    tolerance = reports.tolerance_of(base.lm.dtype)
    models.let_go(base.lm)
    again = models.core(models.load_result(folder, config))
    with torch.no_grad():
        after = forward.answer_logps(again, probe).tolist()
    return reports.reload_check(before, after, tolerance=tolerance)


def recent(run: RunDir, *names: str) -> dict[str, float]:
    """The mean of each metric over the last ten steps that have it."""
    rows = read_metrics(run.path)
    found = {name: [row[name] for row in rows if row.get(name) is not None][-10:] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items() if values}
