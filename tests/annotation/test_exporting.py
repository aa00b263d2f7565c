import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from annotation import exporting
from annotation.exporting import ExportError
from annotation.importing import import_records
from annotation.models import Project, Purpose
from tests import factories

pytestmark = pytest.mark.django_db


def voted(*choices: str | tuple[str, int], **fields: Any) -> dict[str, Any]:
    """One record with a vote by ann, ben, cat, … each."""
    votes = []
    for name, choice in zip(("ann", "ben", "cat", "dan", "eve"), choices, strict=False):
        side, strength = choice if isinstance(choice, tuple) else (choice, 0)
        votes.append({"annotator": name, "choice": side, "strength": strength})
    return {"prompt": "Which?", "responses": ["x", "y"], "annotations": votes} | fields


def filled(*records: dict[str, Any], kind: str = "preference", **fields: Any) -> Project:
    project = factories.project(kind)
    assert import_records(project, records, **fields).applied
    return project


def pairs(project: Project, **options: Any) -> list[tuple[str, str, float, float, float]]:
    return [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row["margin"], row["agreement"], row["weight"])
        for row in exporting.rows(project, "preference", **options)
    ]


def test_the_majority_decides_and_ties_are_left_out() -> None:
    project = filled(
        voted(("a", 3), ("a", 1), ("b", 1), id="one"), voted("a", "b", id="two"), voted("tie", "b", "b", id="three")
    )
    assert pairs(project) == [("x", "y", 1.0, 2 / 3, 1.0), ("y", "x", 0.0, 2 / 3, 1.0)]
    found = list(exporting.outcomes(project, "preference"))
    assert [(outcome.external_id, outcome.left_out, len(outcome.used)) for outcome in found] == [
        ("one", "", 3),
        ("two", "tie", 0),
        ("three", "", 3),
    ]
    assert pairs(project, min_agreement=0.7) == []


def test_each_vote_can_be_a_row_and_strength_can_decide() -> None:
    project = filled(voted(("a", 3), ("b", 1), ("b", 1)))
    assert pairs(project) == [("y", "x", -1 / 3, 2 / 3, 1.0)]
    assert pairs(project, aggregation="strength") == [("x", "y", 1 / 3, 1 / 3, 1.0)]
    assert [row[:2] for row in pairs(project, aggregation="each")] == [("x", "y"), ("y", "x"), ("y", "x")]
    assert sum(row[4] for row in pairs(project, aggregation="each")) == pytest.approx(1)


def test_rows_have_exactly_the_columns_of_the_contract() -> None:
    project = filled(voted("a", metadata={"split": "test"}, id="q"))
    (row,) = exporting.rows(project, "preference")
    assert list(row) == ["prompt", "chosen", "rejected", "margin", "agreement", "weight", "task_id"]
    assert row["prompt"] == [{"role": "user", "content": "Which?"}]
    good, bad = exporting.rows(project, "binary")
    assert (good["completion"][0]["content"], good["label"]) == ("x", True)
    assert (bad["completion"][0]["content"], bad["label"]) == ("y", False)
    (raw,) = exporting.rows(project, "raw", names=True)
    assert list(raw) == [
        "annotation_id",
        "task_id",
        "external_id",
        "annotator",
        "revision",
        "kind",
        "created_at",
        "seconds",
        "guideline_version",
        "body",
        "status",
    ]
    first = project.tasks.get().responses.get(position=0)
    assert (raw["external_id"], raw["annotator"], raw["body"]["choice"]) == ("q", "ann", first.pk)
    (more,) = exporting.rows(project, "preference", extras=True)
    assert (more["external_id"], more["metadata"]) == ("q", {"split": "test"})


def test_names_are_hidden_unless_asked_for() -> None:
    project, other = filled(voted("a", "b")), filled(voted("a", "b"))
    ann, ben = [row["annotator"] for row in exporting.rows(project, "raw")]
    assert ann.startswith("annotator-")
    assert ann != ben
    assert [row["annotator"] for row in exporting.rows(project, "raw")] == [ann, ben]
    assert ann not in [row["annotator"] for row in exporting.rows(other, "raw")]


def test_evaluations_flags_and_quality_checks_train_nobody() -> None:
    project = filled(
        voted("a", id="good"),
        voted(id="flagged", annotations=[{"annotator": "ann", "choice": "a", "flags": ["unsafe"]}]),
        voted("a", id="check", gold={"choice": "a"}),
    )
    assert import_records(project, [voted("a", id="exam")], purpose=Purpose.EVALUATION).applied
    found = {outcome.external_id: outcome.left_out for outcome in exporting.outcomes(project, "preference")}
    assert found == {"good": "", "flagged": "flagged", "check": "quality check"}
    assert len(pairs(project, flags="keep", gold=True)) == 3
    assert len(pairs(project, purpose=Purpose.EVALUATION)) == 1
    assert len(list(exporting.rows(project, "raw", purpose=None))) == 4


def test_judgements_are_chosen_by_person_time_metadata_and_revision() -> None:
    votes = [
        {"annotator": "ann", "choice": "a", "created_at": "2026-01-01T00:00:00Z"},
        {"annotator": "ben", "choice": "b", "created_at": "2026-01-05T00:00:00Z"},
        {"annotator": "ben", "choice": "tie", "created_at": "2026-01-06T00:00:00Z"},
    ]
    project = filled(voted(annotations=votes, metadata={"split": "train"}))
    january = project.annotations.order_by("pk")[1].created_at
    assert pairs(project, exclude_annotators=("ann",)) == []
    assert pairs(project, exclude_annotators=("ben",)) == [("x", "y", 0.0, 1.0, 1.0)]
    assert len(list(exporting.rows(project, "raw", until=january))) == 1
    assert len(list(exporting.rows(project, "raw", since=january))) == 1
    assert [row["status"] for row in exporting.rows(project, "raw", history=True)] == [
        "submitted",
        "replaced",
        "submitted",
    ]
    assert pairs(project, metadata={"split": "eval"}) == []


def test_written_answers_rankings_and_ratings_give_their_rows() -> None:
    written = filled({"prompt": "Why?", "completion": "Because."}, kind="demonstration")
    (row,) = exporting.rows(written, "sft")
    assert row == {
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "Because."}],
    }
    orders = [{"annotator": "ann", "ranking": ["b", ["a", "c"]]}, {"annotator": "ben", "ranking": ["b", "a", "c"]}]
    ranked = filled({"prompt": "?", "responses": ["x", "y", "z"], "annotations": orders}, kind="ranking")
    (row,) = exporting.rows(ranked, "ranking")
    assert (row["responses"], row["ranks"]) == (["x", "y", "z"], [2.25, 1.0, 2.75])
    assert row["agreement"] == pytest.approx(5 / 6) and row["weight"] == 1  # ann has x and z on one place
    least = (row["agreement"], 0.84)  # as much as is asked is enough
    assert [list(exporting.rows(ranked, "ranking", min_agreement=one)) for one in least] == [[row], []]
    assert [row["weight"] for row in exporting.rows(ranked, "ranking", aggregation="each")] == [0.5, 0.5]
    assert [row[:2] for row in pairs(ranked)] == [("y", "x"), ("x", "z"), ("y", "z")]
    assert sum(row[4] for row in pairs(ranked)) == pytest.approx(1)
    marks = [
        {"annotator": "ann", "ratings": {"helpful": 5, "clear": 3}},
        {"annotator": "ben", "ratings": {"helpful": 4}},
    ]
    rated = filled({"prompt": "?", "responses": ["x"], "annotations": marks}, kind="rating")
    (row,) = exporting.rows(rated, "rating")
    assert (row["helpful"], row["clear"]) == (4.5, 3.0)
    assert [row["label"] for row in exporting.rows(rated, "binary", threshold=3.75)] == [True]
    assert [row["label"] for row in exporting.rows(rated, "binary", threshold=3.76)] == [False]


@pytest.mark.parametrize(
    ("type", "format", "options", "words"),
    [
        ("rating", "jsonl", {}, "gives preference, binary, sft, raw"),
        ("all", "jsonl", {}, "type must be one of"),
        ("raw", "xml", {}, "format must be one of"),
        ("raw", "csv", {"colour": 1}, "no export option colour"),
        ("preference", "csv", {"aggregation": "best"}, "aggregation must be one of"),
        ("preference", "csv", {"min_agreement": 2}, "between 0 and 1"),
        ("preference", "csv", {"history": True}, "Only raw rows"),
        ("preference", "csv", {"ties": "both"}, "ties must be one of drop, half"),
        ("preference", "argilla", {}, "with the type raw"),
        ("preference", "csv", {"part": "test"}, "one of train, eval"),
        ("raw", "csv", {"part": "eval"}, "Only training rows are split"),
        ("raw", "csv", {"min_agreement": 0.5}, "is of verdicts"),
        ("raw", "csv", {"exclude_annotators": ("zed",)}, "exclude_annotators names 'zed', but nobody of that name"),
    ],
)
def test_what_cannot_be_given_is_said_before_the_first_byte(
    type: str, format: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExportError, match=words):
        exporting.stream(factories.project(), type, format, **options)
    if type == "preference":
        with pytest.raises(ExportError, match="threshold"):
            exporting.stream(factories.project("rating"), "binary", format)


NASTY = ["=SUM(A1)", "+1", "-1", "@cmd", "'=x", "\tx", 'quote " and, comma', "two\nlines\r\n", "\u2028 🙂", "'plain"]


def test_every_format_holds_the_same_rows_and_csv_no_formula(tmp_path: Path) -> None:
    records = [voted("a", id=text.strip() or "x", responses=[text, f"{text}!"]) for text in NASTY if text.isprintable()]
    records += [voted("b", id=str(number), responses=[text, "other"]) for number, text in enumerate(NASTY)]
    project = filled(*records, metadata={"note": "=1+1"})
    wanted = list(exporting.rows(project, "preference", extras=True))
    lines = b"".join(exporting.stream(project, "preference", "jsonl", extras=True)).decode()
    assert [json.loads(line) for line in lines.split("\n")[:-1]] == wanted
    path = tmp_path / "rows.parquet"
    size = exporting.write(project, "preference", "parquet", path, extras=True)
    assert size == path.stat().st_size
    table = pq.read_table(path).to_pylist()
    assert [row | {"metadata": json.loads(row["metadata"])} for row in table] == wanted
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.parquet"]
    text = b"".join(exporting.stream(project, "preference", "csv", extras=True)).decode()
    cells = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [json.loads(row["chosen"]) for row in cells] == [row["chosen"] for row in wanted]
    assert not [cell for row in cells for cell in row.values() if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_an_export_comes_back_the_same(format: str, tmp_path: Path) -> None:
    records = [voted("a", responses=[text, "other"], prompt=f"{number}: {text}") for number, text in enumerate(NASTY)]
    project, copy = filled(*records), factories.project()
    path = tmp_path / f"rows.{format}"
    exporting.write(project, "preference", format, path)
    report = import_records(copy, path)
    assert (report.bad, report.created) == ([], len(NASTY))
    assert pairs(copy) == pairs(project)
    assert [task.prompt for task in copy.tasks.order_by("pk")] == [task.prompt for task in project.tasks.order_by("pk")]


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_an_empty_export_is_a_valid_file(format: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    exporting.write(factories.project(), "raw", format, path)
    if format == "parquet":
        assert pq.read_table(path).num_rows == 0
    else:
        assert path.read_text().startswith("annotation_id," if format == "csv" else "")


def test_an_export_reads_a_page_at_a_time(django_assert_max_num_queries: Any) -> None:
    project = filled(*(voted("a", id=str(number)) for number in range(120)))
    with django_assert_max_num_queries(9):  # three for what was withdrawn, then six a page
        pieces = exporting.stream(project, "preference", "jsonl")
        assert next(pieces).count(b"\n") == 49  # of the fiftieth task more may follow
    assert sum(piece.count(b"\n") for piece in pieces) == 71
