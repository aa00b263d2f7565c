"""What several judgements of one task become: kinds, ties, gaps, improved answers, exclusions, duplicates, splits."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from annotation import exporting
from annotation.exporting import ExportError
from annotation.importing import import_records
from annotation.models import Annotation, Project
from annotation.sameness import prompt_key
from annotation.splitting import PARTS, Split
from tests import factories

pytestmark = pytest.mark.django_db


def filled(*records: dict[str, Any], kind: str = "preference") -> Project:
    project = factories.project(kind)
    assert import_records(project, [{"prompt": "Which?", **record} for record in records]).applied
    return project


def pair(*choices: str, **fields: Any) -> dict[str, Any]:
    votes = [{"annotator": name, "choice": choice} for name, choice in zip("uvwxyz", choices, strict=False)]
    return {"responses": ["x", "y"], "annotations": votes, **fields}


def rated(text: str, *scores: int, prompt: str = "Which?", **fields: Any) -> dict[str, Any]:
    votes = [{"annotator": name, "ratings": {"helpful": score}} for name, score in zip("uvwxyz", scores, strict=False)]
    return {"prompt": prompt, "responses": [text], "annotations": votes, **fields}


def texts(project: Project, type: str = "preference", **options: Any) -> list[tuple[str, str, float]]:
    return [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row["weight"])
        for row in exporting.rows(project, type, **options)
    ]


def left_out(project: Project, type: str, **options: Any) -> list[str]:
    return [found.left_out for found in exporting.outcomes(project, type, **options)]


def test_a_tie_can_be_kept_as_half_and_half() -> None:
    project = filled(pair("a", "b"))
    assert texts(project) == []
    assert texts(project, ties="half") == [("x", "y", 0.5), ("y", "x", 0.5)]
    assert left_out(project, "preference", ties="half", min_agreement=0.6) == ["low agreement"]


def test_each_vote_with_half_ties_still_weighs_one_task() -> None:
    project = filled(pair("a", "tie", "b", "a"))
    found = texts(project, aggregation="each", ties="half")
    assert found == [("x", "y", 0.25), ("x", "y", 0.125), ("y", "x", 0.125), ("y", "x", 0.25), ("x", "y", 0.25)]


def test_two_bad_answers_are_no_tie_and_both_are_bad() -> None:
    project = filled(pair("both_bad", "both_bad", "tie"))
    assert left_out(project, "preference", ties="half") == ["both bad"]
    assert [(row["completion"][0]["content"], row["label"]) for row in exporting.rows(project, "binary")] == [
        ("x", False),
        ("y", False),
    ]


def test_an_improved_answer_gives_a_demonstration_and_a_pair() -> None:
    project = filled(pair("a", "a"), pair("b", prompt="Other?"))
    vote = Annotation.objects.order_by("pk").first()
    assert vote is not None
    Annotation.objects.filter(pk=vote.pk).update(body=vote.body | {"improved": "a better x"})
    assert texts(project) == [("x", "y", 0.5), ("a better x", "x", 0.5), ("y", "x", 1.0)]
    assert texts(project, improved="drop") == [("x", "y", 1.0), ("y", "x", 1.0)]
    (row,) = exporting.rows(project, "sft")
    assert row["completion"] == [{"role": "assistant", "content": "a better x"}]
    assert left_out(project, "sft") == ["", "no improved answer"]
    assert len(b"".join(exporting.stream(project, "sft", "jsonl")).splitlines()) == 1
    with pytest.raises(exporting.ExportError, match="answers that somebody improved, and nobody did yet"):
        exporting.stream(factories.project(), "sft", "jsonl")


def test_ratings_give_pairs_by_a_stated_gap() -> None:
    project = filled(
        rated("fine", 4, 5), rated("poor", 2, 1), rated("middling", 4), rated("lonely", 5, prompt="Other?"),
        kind="rating",
    )  # fmt: skip
    found = [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row["margin"], row["agreement"])
        for row in exporting.rows(project, "preference", gap=2)
    ]
    assert sorted(found) == [("fine", "poor", 3.0, 1.0), ("middling", "poor", 2.5, 1.0)]
    assert sum(weight for *_, weight in texts(project, gap=2)) == pytest.approx(1)
    assert "no other rated answer to its prompt" in left_out(project, "preference", gap=2)
    assert set(left_out(project, "preference", gap=4)) == {"gap too small", "no other rated answer to its prompt"}
    assert list(exporting.rows(factories.project("rating"), "preference", gap=2)) == []
    with pytest.raises(ExportError, match="need a gap"):
        exporting.rows(project, "preference")
    with pytest.raises(ExportError, match="no aspect 'wit' here"):
        exporting.rows(project, "preference", gap=1, aspect="wit")


def test_ratings_give_labels_by_threshold_and_agreement_or_one_a_judge() -> None:
    project = filled(rated("fine", 5, 4, 1), kind="rating")
    assert [row["label"] for row in exporting.rows(project, "binary", threshold=3)] == [True]
    assert left_out(project, "binary", threshold=3, min_agreement=0.7) == ["low agreement"]
    assert [row["label"] for row in exporting.rows(project, "binary", threshold=3, aggregation="each")] == [
        True,
        True,
        False,
    ]
    assert [row["helpful"] for row in exporting.rows(project, "rating", aggregation="each")] == [5.0, 4.0, 1.0]


def test_flags_can_be_left_out_by_name() -> None:
    votes = [{"annotator": "u", "choice": "a", "flags": ["unsafe"]}]
    project = filled(pair("a"), pair(prompt="Other?", annotations=votes))
    assert len(texts(project, flags="keep")) == 2
    assert len(texts(project, flags="keep", exclude_flags=("unsafe",))) == 1
    assert len(texts(project, flags="keep", exclude_flags=("unclear",))) == 2


def test_versions_of_the_guidelines_can_be_left_out() -> None:
    project = filled(pair("a"), pair("b", prompt="Other?"), pair("b", prompt="Third?"))
    first, second = project.write_guidelines("one"), project.write_guidelines("two")
    votes = list(Annotation.objects.order_by("pk"))
    Annotation.objects.filter(pk=votes[0].pk).update(guideline=first)
    Annotation.objects.filter(pk=votes[1].pk).update(guideline=second)
    assert len(texts(project, exclude_guidelines=(1,))) == 2
    assert len(texts(project, exclude_guidelines=(1, 2))) == 1
    assert len(texts(project, guideline=2)) == 1


def test_duplicates_are_rows_whose_prompt_and_answers_came_before() -> None:
    project = filled(
        pair("a", id="1"), pair("a", id="2", prompt="which"), pair("b", id="3", prompt="  WHICH ?!"), pair("a", id="4",
        responses=["X", "y"]),
    )  # fmt: skip
    assert texts(project, deduplicate=True) == [("x", "y", 1.0), ("y", "x", 1.0), ("X", "y", 1.0)]
    found = {outcome.external_id: outcome for outcome in exporting.outcomes(project, "preference", deduplicate=True)}
    assert (found["2"].left_out, found["2"].used) == ("duplicate", [])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is  a fjord?", "what is a\nfjord", True),
        ("ﬁsh", "FISH", True),
        ("Straße", "STRASSE!", True),
        ("2 + 2", "2 - 2", False),
        ("a\x00b", "a b", False),
    ],
)
def test_prompts_are_the_same_by_their_normalised_text(one: str, other: str, same: bool) -> None:
    first, second = [{"role": "user", "content": one}], [{"role": "user", "content": other}]
    assert (prompt_key(first) == prompt_key(second)) is same
    assert prompt_key(first) != prompt_key([{"role": "system", "content": one}])


def prompts(project: Project, part: str, split: Split) -> set[str]:
    rows = exporting.rows(project, "preference", split=split, part=part)
    return {row["prompt"][0]["content"].casefold() for row in rows}


def test_a_split_by_prompt_puts_like_prompts_on_one_side_and_its_seed_draws_others() -> None:
    records = [pair("a", prompt=f"Question {n // 2}" + "?" * (n % 2), id=str(n)) for n in range(80)]
    project = filled(*records)
    split = Split(eval_share=0.4, seed=1)
    train, held_out = prompts(project, "train", split), prompts(project, "eval", split)
    assert len(train) + len(held_out) == 80
    assert not {text.rstrip("?") for text in train} & {text.rstrip("?") for text in held_out}
    assert held_out != prompts(project, "eval", Split(eval_share=0.4, seed=2))


def test_a_split_by_time_never_trains_on_a_prompt_that_it_tests() -> None:
    early, late = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"

    def at(time: str, prompt: str) -> dict[str, Any]:
        return pair(prompt=prompt, annotations=[{"annotator": "u", "choice": "a", "created_at": time}])

    project = filled(at(early, "One?"), at(early, "Two?"), at(late, "three?"), at(late, "ONE"))
    split = Split(by="time", at=datetime(2026, 2, 1, tzinfo=UTC))
    assert prompts(project, "eval", split) == {"three?", "one"}
    assert prompts(project, "train", split) == {"two?"}


def test_nearly_the_same_prompts_are_on_one_side_whatever_the_split_goes_by() -> None:
    spoken = random.Random(0)
    words = [f"w{number}" for number in range(500)]
    records = []
    for number in range(20):
        text = spoken.choices(words, k=30)
        for month, end in ((1, "early"), (3, "late")):
            votes = [{"annotator": "u", "choice": "a", "created_at": f"2026-0{month}-01T00:00:00Z"}]
            records.append(pair(prompt=" ".join([*text, end]), annotations=votes, metadata={"n": number, "end": end}))
    project = filled(*records)

    def sides(split: Split) -> dict[str, list[Any]]:
        rows = {part: exporting.rows(project, "preference", split=split, part=part, extras=True) for part in PARTS}
        return {part: [(row["metadata"]["n"], row["metadata"]["end"]) for row in found] for part, found in rows.items()}

    def shared(found: dict[str, list[Any]]) -> set[int]:
        train, held_out = ({number for number, _ in found[part]} for part in PARTS)
        return train & held_out

    drawn = sides(Split(eval_share=0.4, seed=1))
    assert not shared(drawn) and len(drawn["eval"]) + len(drawn["train"]) == 40 and len(drawn["eval"]) > 4
    assert shared(sides(Split(eval_share=0.4, seed=1, near=False)))
    moment = datetime(2026, 2, 1, tzinfo=UTC)
    for split in (Split(by="time", at=moment), Split(by="metadata", key="end", eval="late")):
        assert sides(split) == {"train": [], "eval": [(number, "late") for number in range(20)]}
        assert len(shared(sides(replace(split, near=False)))) == 20


def test_a_posterior_weighs_each_judge_by_how_far_the_others_bear_them_out() -> None:
    agreed = [pair("a" if n % 2 else "b", "a" if n % 2 else "b", "b" if n % 3 else "a", id=str(n)) for n in range(40)]
    project = filled(*agreed, pair("a", "tie", "b", id="disputed"))
    rows = {row["task_id"]: row for row in exporting.rows(project, "preference", aggregation="posterior")}
    disputed = rows[project.tasks.get(external_id="disputed").pk]
    assert disputed["chosen"][0]["content"] == "x"  # u is always borne out, w answers without a pattern
    assert 0.5 < disputed["posterior"] < 1
    assert disputed["agreement"] == pytest.approx(1 / 3)
    assert exporting.columns(project, "preference", aggregation="posterior")["posterior"] == "float"
    assert len(list(exporting.rows(project, "binary", aggregation="posterior"))) == 2 * len(rows)
    assert len(texts(project, aggregation="posterior", min_agreement=0.5)) == len(
        rows
    )  # of the posterior, not the votes
    with pytest.raises(ExportError, match="posterior is of pairs"):
        exporting.rows(project, "sft", aggregation="posterior")
