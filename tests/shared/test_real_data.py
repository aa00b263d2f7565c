"""The commands of docs/real-data.md on the data beside the checkout, and the figures they must give."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from annotation import exporting
from annotation.agreement import agreement
from annotation.models import Annotation, Project, Task

pytestmark = [pytest.mark.shared, pytest.mark.django_db]


def imported(*words: object) -> tuple[dict[str, object], str]:
    out, errors = io.StringIO(), io.StringIO()
    call_command("import_tasks", *(str(word) for word in words), stdout=out, stderr=errors)
    return json.loads(out.getvalue()), errors.getvalue()


@pytest.fixture
def harmless(shared: Path) -> Path:
    return shared / "data" / "hh_rlhf_harmless_base"


@pytest.fixture
def votes(shared: Path) -> Path:
    return shared / "data" / "mt_bench"


def test_anthropic_pairs_come_in_as_they_are_and_five_are_reported_by_line(harmless: Path) -> None:
    words = ("--create", "preference", "--skip-bad", "--metadata")
    train, train_errors = imported("harmless", harmless / "train.jsonl.gz", *words, "split=train")
    test, test_errors = imported("harmless", harmless / "test.jsonl.gz", *words, "split=test")
    assert (train["read"], train["created"], train["bad_count"], train["annotations"]) == (1812, 1810, 2, 1810)
    assert (test["read"], test["created"], test["bad_count"], test["annotations"]) == (500, 497, 3, 497)
    lines = [line.split(":")[0] for line in (train_errors + test_errors).splitlines() if line.startswith("line ")]
    assert lines == ["line 1255", "line 1689", "line 139", "line 141", "line 225"]

    project = Project.objects.get(slug="harmless")
    test_rows = list(exporting.rows(project, "preference", metadata={"split": "test"}))
    assert len(test_rows) == 497
    assert len(list(exporting.rows(project, "preference"))) == 2307
    shorter = sum(len(row["chosen"][0]["content"]) < len(row["rejected"][0]["content"]) for row in test_rows)
    assert shorter / len(test_rows) == pytest.approx(0.575, abs=0.01)
    assert imported("harmless", harmless / "train.jsonl.gz", "--skip-bad")[0]["unchanged"] == 1810


def test_a_transcript_is_put_together_again_without_a_loss(harmless: Path) -> None:
    imported("harmless", harmless / "test.jsonl.gz", "--create", "preference", "--skip-bad")
    import gzip

    with gzip.open(harmless / "test.jsonl.gz", "rt") as handle:
        originals = {json.loads(line)["chosen"] for line in handle}
    names = {"user": "Human", "assistant": "Assistant"}
    for row in exporting.rows(Project.objects.get(slug="harmless"), "preference"):
        turns = [*row["prompt"], *row["chosen"]]
        assert "".join(f"\n\n{names[turn['role']]}: {turn['content']}" for turn in turns) in originals


def test_one_bad_pair_stops_the_import_unless_told_otherwise(harmless: Path) -> None:
    with pytest.raises(CommandError, match="3 records are bad"):
        imported("harmless", harmless / "test.jsonl.gz", "--create", "preference")
    assert not Task.objects.exists()


def test_published_agreement_comes_out_of_the_votes(votes: Path) -> None:
    human, _ = imported(
        "mt-bench", votes / "human_votes_turn2.jsonl.gz", "--format", "mt-bench", "--create", "preference"
    )
    assert (human["read"], human["bad_count"], human["annotations"]) == (human["created"], 0, 1666)
    machine, _ = imported("mt-bench", votes / "gpt4_pair_turn2.jsonl.gz", "--format", "mt-bench", "--update")
    assert (machine["bad_count"], machine["annotations"]) == (0, 1200)
    assert Annotation.objects.standing().count() == 2866

    project = Project.objects.get(slug="mt-bench")
    # Zheng et al. (2023), table 5, second turn.
    for groups, ties, agreeing, n in [
        (("expert_*",), True, 471, 707),
        (("expert_*",), False, 388, 474),
        (("expert_*", "gpt4*"), True, 871, 1325),
        (("expert_*", "gpt4*"), False, 731, 864),
    ]:
        share = agreement(project, groups=groups, ties=ties)["percent"]
        assert (share["agree"], share["n"]) == (agreeing, n)
        assert share["low"] < agreeing / n < share["high"]


def test_an_mt_bench_task_shows_the_question_and_names_the_models(votes: Path) -> None:
    imported("mt-bench", votes / "human_votes_turn2.jsonl.gz", "--format", "mt-bench", "--create", "preference")
    task = Task.objects.get(external_id="mt-bench-81-2-alpaca-13b-gpt-3.5-turbo")
    assert [turn["role"] for turn in task.prompt] == ["user", "assistant", "user"]
    assert task.prompt[0]["content"].startswith("Compose an engaging travel blog post")
    assert [row.source for row in task.responses.order_by("position")] == ["alpaca-13b", "gpt-3.5-turbo"]
    assert task.metadata["category"] == "writing"
