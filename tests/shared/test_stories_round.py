"""A whole round on a real model: the commands of docs/real-data.md, on few prompts."""

import gzip
import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command

from annotation.models import Project
from rlhf.models import Model, Round

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SMALL = [
    "prompts=24", "eval_prompts=8", "generation.max_new_tokens=24", "evaluation.max_new_tokens=24",
    'snapshot={"split": {"by": "prompt", "eval_share": 0.25, "seed": 0}}', "reward.params.batch_size=8",
    'policies=[{"kind": "dpo", "params": {"batch_size": 8, "max_new_tokens": 24, "sample_prompts": 2}},'
    ' {"kind": "ppo", "params": {"steps": 2, "rollout_batch": 8, "minibatch": 4, "ppo_epochs": 1,'
    ' "value_warmup_steps": 1, "max_new_tokens": 24, "eval_prompts": 4}}]', "hardware.threads=1",
]  # fmt: skip


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def first_sentences(stories: Path, count: int) -> list[str]:
    with gzip.open(stories, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [text.split(".")[0] + "." for text in texts[:count]]


def test_a_round_on_stories_goes_from_prompts_to_compared_policies(
    shared: Path, data_folder: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    lines = [
        json.dumps({"id": f"story-{number}", "prompt": text})
        for number, text in enumerate(first_sentences(shared / "data" / "tinystories_excerpt" / "stories.jsonl.gz", 40))
    ]
    prompts.write_text("\n".join(lines))

    run("register_model", "stories", str(shared / "models" / "stories260k"), "--template", "plain")
    run("create_project", "stories", "--kind", "preference")
    run("round", "stories", "--start", "stories", "--prompts", str(prompts), "--set", *SMALL)
    run("simulate", "stories", "--rule", "happy")
    run("round", "stories")
    run("simulate", "stories", "--rule", "happy")
    said = run("round", "stories")

    round = Round.objects.get()
    assert round.state == Round.State.DECIDE, round.problem
    assert {"dpo-r1", "ppo-r1"} <= set(round.evaluation["policies"])
    assert round.evaluation["policies"]["dpo-r1"]["preferred"]["n"] == 8
    assert round.snapshot is not None and round.snapshot.simulated_share == 1.0
    assert Model.objects.get(name="ppo-r1").base.name == "stories"
    assert Project.objects.get().tasks.filter(purpose="label").count() <= 24
    assert "ppo-r1" in said
