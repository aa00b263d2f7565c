"""A reward model on real preferences: the commands of docs/real-data.md, on the first rows and for two steps."""

import gzip
import io
from pathlib import Path

import pytest
from django.core.management import call_command

from rlhf.models import Run, Snapshot
from training import rundir

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_the_anthropic_pairs_make_a_reward_model_that_is_compared_with_length(
    shared: Path, data_folder: Path, tmp_path: Path
) -> None:
    for split, count in (("train", 60), ("test", 24)):
        with gzip.open(shared / "data" / "hh_rlhf_harmless_base" / f"{split}.jsonl.gz", "rt", encoding="utf-8") as all:
            lines = [next(all) for _ in range(count)]
        file = tmp_path / f"{split}.jsonl"
        file.write_text("".join(lines), encoding="utf-8")
        made = ["--create", "preference"] if split == "train" else []
        run("import_tasks", "harmless", str(file), "--skip-bad", "--metadata", f"split={split}", *made)
    run("register_model", "stories", str(shared / "models" / "stories260k"), "--template", "plain")
    run("snapshot", "harmless", "--type", "preference", "--name", "hh", "--split-key", "split", "--eval-value", "test")
    said = run(
        "train", "reward", "--snapshot", "hh", "--base", "stories", "--name", "hh-reward", "--full", "--set",
        "params.long_prompts=cut", "params.max_dropped_share=0.3", "params.max_length=512", "params.max_steps=2",
        "params.learning_rate=3e-4", "hardware.threads=1",
    )  # fmt: skip

    counts = Snapshot.objects.get().counts
    assert (counts["train"], counts["eval"]) == (60, 24)
    report = rundir.read_report(Run.objects.get().folder)
    rows = report["rows"]["eval"]
    assert rows["read"] == 24 == rows["used"] + sum(rows["dropped"].values())
    figures = report["eval"]
    assert figures["accuracy"]["n"] == figures["baseline_shorter"]["n"] == figures["over_baseline"]["n"] == rows["used"]
    assert "accuracy" in said and "baseline shorter" in said
