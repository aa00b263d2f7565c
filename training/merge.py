"""An adapter folded into the weights it stands on: the result is a whole model that needs no PEFT."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel

from training import adapters, forward, models, reports
from training.rundir import RunDir
from training.runfile import RunFile

PROBES, PROBE_TOKENS = 4, 16


def train(config: RunFile, run: RunDir) -> None:
    """Write model/ with the adapter in its weights, proved to speak as the two did apart."""
    assert config.base_model is not None and config.start_adapter is not None
    run.phase("loading")
    device = models.prepare(config.hardware, config.seed)
    tokenizer = models.load_tokenizer(config, run.path)
    # float32 whatever the run computes in: bfloat16 would round small changes away.
    model = models.load_causal(config.base_model.path, config.hardware, training=True)
    wrapped = adapters.load(model, config.start_adapter.path).eval()
    probe = _probe(model, tokenizer, config.seed, device)
    before = _scores(adapters.core(wrapped), probe)

    run.phase("merging")
    assert isinstance(wrapped, PeftModel)
    with adapters.quiet_peft():
        merged: Any = wrapped.merge_and_unload(safe_merge=True)
    run.phase("saving")
    folder = models.save_policy(merged, tokenizer, run, config, merged=config.raw.get("start_adapter"))
    again = models.load_causal(folder, config.hardware, training=True).eval()
    check = reports.reload_check(before, _scores(again, probe), tolerance=reports.tolerance_of(torch.float32))
    run.write_report(
        reports.common(run, config, [], steps=0, tokens=0)
        | {"train": {}, "eval": {}, "reload_check": check, "sample_rendered": "", "warnings": []}
    )


def _probe(model: Any, tokenizer: Any, seed: int, device: torch.device) -> forward.Batch:
    """Rows of random tokens: whatever is in the weights shows on them, and no data is needed."""
    size = model.config.get_text_config().vocab_size
    ids = torch.randint(0, size, (PROBES, PROBE_TOKENS), generator=torch.Generator().manual_seed(seed)).tolist()
    return forward.pack_answers([(row[:1], row[1:]) for row in ids], tokenizer.pad_token_id, device)


@torch.no_grad()
def _scores(core: Any, probe: forward.Batch) -> list[float]:
    return forward.answer_logps(core, probe).tolist()
