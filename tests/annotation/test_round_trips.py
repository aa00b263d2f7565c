"""What goes out comes in again and goes out the same, in every format and from every kind of project."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from annotation import exporting, judging, queue
from annotation.importing import import_records
from annotation.models import Annotation, Project
from tests import factories

pytestmark = pytest.mark.django_db

TEXTS = ["=SUM(A1)", 'quote " and, comma', "two\nlines\r\n", "\u2028 🙂 ﬁ", "'plain", "-1", "<b>&amp;</b>"]
TIMES = [f"2026-01-{day:02}T10:00:00.123456+00:00" for day in range(1, 29)]


def votes(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"annotator": name, "created_at": TIMES[place], "seconds": 1.5 + place, "body": body}
        | ({"guideline_version": place} if place else {})
        for place, (name, body) in enumerate(zip(("ann", "ben", "=cat"), bodies, strict=False))
    ]


def records(kind: str) -> list[dict[str, Any]]:
    made = []
    for n, text in enumerate(TEXTS):
        if kind == "preference":
            bodies = [
                {"choice": "a", "strength": 2, "rationale": text, "flags": ["unsafe"], "aspects": {}},
                {"choice": "b", "strength": 1, "improved": f"better {text}"},
                {"choice": ("tie", "both_bad")[n % 2], "strength": 0},
            ]
            answers = 2
        elif kind == "ranking":
            bodies, answers = [{"ranking": ["b", ["a", "c"]]}, {"ranking": ["c", "b", "a"], "rationale": text}], 3
        elif kind == "rating":
            bodies, answers = [{"ratings": {"helpful": 4}}, {"ratings": {"helpful": 2}, "rationale": text}], 1
        else:
            bodies, answers = [{"text": text}, {"text": f"{text}!"}], 0
        responses = [{"text": f"{text} {letter}", "source": "m-1", "score": 0.5} for letter in "abc"[:answers]]
        prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": f"{n}: {text}"}]
        made.append(
            {"id": f"id {n}", "prompt": prompt, "responses": responses, "metadata": {"k": [n, text]}}
            | {"priority": n, "annotations": votes(*bodies)}
        )
    return made


def filled(kind: str) -> Project:
    project = factories.project(kind)
    report = import_records(project, records(kind))
    assert report.applied, report.bad
    return project


def plain(project: Project) -> list[dict[str, Any]]:
    """The raw rows with places instead of the ids that every database gives anew."""
    found = []
    for row in exporting.rows(project, "raw", names=True, extras=True, history=True, purpose=None):
        row, body = dict(row), dict(row["body"])
        place = {response["id"]: index for index, response in enumerate(row["responses"])}
        row["responses"] = [{**response, "id": None} for response in row["responses"]]
        if "choice" in body:
            body["choice"] = place.get(body["choice"], body["choice"])
        if "ranking" in body:
            body["ranking"] = [sorted(place[one] for one in tied) for tied in body["ranking"]]
        row["body"] = body
        found.append({name: value for name, value in row.items() if name not in ("annotation_id", "task_id")})
    return found


KINDS = ("preference", "ranking", "rating", "demonstration")


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "datasets"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_raw_record_comes_back_whole(kind: str, format: str, tmp_path: Path) -> None:
    project, copy = filled(kind), factories.project(kind)
    path = tmp_path / f"raw.{format}"
    exporting.write(project, "raw", format, path, names=True, extras=True, history=True)
    report = import_records(copy, path)
    assert (report.bad, report.created) == ([], len(TEXTS))
    assert plain(copy) == plain(project)
    assert {row["guideline_version"] for row in plain(copy)} >= {None, 1}
    assert copy.guideline is None  # annotators are shown nothing that came without its text


def label_studio_keeps(task: dict[str, Any]) -> dict[str, Any]:
    """What Label Studio 1.23 exports of what it imported: who imported, when, and the rest as it was."""
    own = {"completed_by": 1, "created_at": "2027-01-01T00:00:00Z", "was_cancelled": False}
    given = [own | {name: one[name] for name in ("lead_time", "result")} for one in task["annotations"]]
    return {"id": 900 + task["id"], "data": task["data"], "annotations": given, "predictions": []}


def argilla_keeps(record: dict[str, Any]) -> dict[str, Any]:
    """What Argilla's library writes of a record that it read."""
    names = ("id", "fields", "metadata", "suggestions", "responses", "vectors", "status")
    answers = [one for given in record["responses"].values() for one in given]
    assert all(one.keys() == {"value", "user_id", "status"} and UUID(one["user_id"]) for one in answers)
    return {name: record[name] for name in names} | {"_server_id": None}


KEPT = {"label-studio": label_studio_keeps, "argilla": argilla_keeps}


@pytest.mark.parametrize("format", ["label-studio", "argilla"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_other_tools_get_comes_back_the_same(kind: str, format: str, tmp_path: Path) -> None:
    project, copy = filled(kind), factories.project(kind)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    exporting.write(project, "raw", format, first, names=True)
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps([KEPT[format](record) for record in json.loads(first.read_text())]))
    report = import_records(copy, theirs)
    assert (report.bad, report.created) == ([], len(TEXTS))
    exporting.write(copy, "raw", format, second, names=True)

    def without_ids(path: Path) -> list[Any]:
        tasks = json.loads(path.read_text())
        for task in tasks:
            if format == "label-studio":
                task.pop("id")
                for annotation in task["annotations"]:
                    annotation.pop("id")
        return tasks

    assert without_ids(second) == without_ids(first)
    told = ("external_id", "annotator", "created_at", "seconds", "guideline_version", "body")
    mine, theirs = ([[row[name] for name in told] for row in plain(one)] for one in (project, copy))
    assert theirs == mine


@pytest.mark.parametrize("format", ["label-studio", "argilla"])
def test_a_judgement_without_any_answer_comes_back_too(format: str, tmp_path: Path) -> None:
    asked = {"aspects": [{"name": "helpful", "label": "Helpful", "required": False, "points": 5}]}
    project, copy = (factories.project("rating", questions=asked) for _ in range(2))
    record = {"id": "1", "prompt": "Wet?", "responses": ["Yes."], "annotations": votes({"ratings": {}})}
    report = import_records(project, [record])
    assert report.applied, report.bad
    exporting.write(project, "raw", format, path := tmp_path / "out.json", names=True)
    report = import_records(copy, path)
    assert report.applied, report.bad
    assert [row["body"] for row in plain(copy)] == [row["body"] for row in plain(project)]


def test_a_correction_comes_back_with_its_history(tmp_path: Path) -> None:
    project, copy = factories.project(), factories.project()
    given = [
        {"annotator": "ann", "created_at": TIMES[0], "body": {"choice": "b"}},
        {"annotator": "ann", "created_at": TIMES[1], "body": {"choice": "a"}},
    ]
    assert import_records(project, [{"prompt": "?", "responses": ["x", "y"], "annotations": given}]).applied
    path = tmp_path / "raw.jsonl"
    exporting.write(project, "raw", "jsonl", path, names=True, extras=True, history=True)
    assert import_records(copy, path).applied
    assert [(row["revision"], row["status"]) for row in plain(copy)] == [(1, "replaced"), (2, "submitted")]
    assert plain(copy) == plain(project)


def test_a_judgement_keeps_the_version_of_the_guidelines_it_was_made_under() -> None:
    project = factories.project()
    first = project.write_guidelines("Be kind.")
    rows = [{"id": "1", "prompt": "?", "responses": ["x", "y"], "annotations": votes({"choice": "a"}, {"choice": "b"})}]
    again = {"annotator": "ann", "choice": "b", "guideline_version": 7}
    assert import_records(project, rows).applied
    assert import_records(project, [rows[0] | {"annotations": [again]}], update=True).updated == 1
    under = project.annotations.order_by("pk").values_list("annotator__username", "guideline__number")
    assert list(under) == [("ann", None), ("ben", 1), ("ann", 7)]
    assert project.annotations.get(annotator__username="ben").guideline == first == project.guideline
    assert project.write_guidelines("Be kinder.").number == 8
    wrong = [rows[0] | {"id": "2", "annotations": [again | {"guideline_version": 0}]}]
    assert import_records(project, wrong).bad[0].field == "annotations[0].guideline_version"


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "datasets"])
@pytest.mark.parametrize(
    ("kind", "type", "number", "body"),
    [
        ("demonstration", "sft", 0, {"text": "Because."}),
        ("preference", "preference", 2, {"choice": "a"}),
        ("ranking", "ranking", 3, {"ranking": [["c"], ["a", "b"]]}),
        ("rating", "rating", 1, {"ratings": {"helpful": 4}}),
    ],
)
def test_training_rows_come_back_the_same(
    kind: str, type: str, number: int, body: dict[str, Any], format: str, tmp_path: Path
) -> None:
    project, copy = factories.project(kind), factories.project(kind)
    rows = [
        {"prompt": text, "responses": [f"{text} {side}" for side in "abc"[:number]], "annotations": votes(body)}
        for text in TEXTS
    ]
    assert import_records(project, rows).applied
    exporting.write(project, type, format, tmp_path / f"rows.{format}")
    report = import_records(copy, tmp_path / f"rows.{format}")
    assert (report.bad, report.created) == ([], len(TEXTS))

    def content(source: Project) -> list[dict[str, Any]]:
        return [{name: row[name] for name in row if name != "task_id"} for row in exporting.rows(source, type)]

    assert content(copy) == content(project)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "datasets"])
def test_labels_of_good_and_bad_come_back_the_same(format: str, tmp_path: Path) -> None:
    asked = {"aspects": [{"name": "right", "label": "Right", "points": 2}]}
    project, copy = (factories.project("rating", questions=asked) for _ in range(2))
    judged = [votes({"ratings": {"right": 1 + place % 2}}) for place in range(len(TEXTS))]
    rows = [{"prompt": text, "responses": [text], "annotations": one} for text, one in zip(TEXTS, judged, strict=True)]
    assert import_records(project, rows).applied
    exporting.write(project, "binary", format, path := tmp_path / f"rows.{format}", threshold=2)
    report = import_records(copy, path)
    assert (report.bad, report.annotations) == ([], len(TEXTS))
    mine, theirs = (
        [row | {"task_id": 0} for row in exporting.rows(one, "binary", threshold=2)] for one in (project, copy)
    )
    assert theirs == mine and {row["label"] for row in mine} == {True, False}


@pytest.mark.parametrize("format", ["jsonl", "label-studio", "argilla"])
def test_highlights_reasons_and_an_improved_winner_come_back(format: str, tmp_path: Path) -> None:
    project, copy = (factories.project(questions={"improve": True}) for _ in range(2))
    person, task = factories.member(project), factories.task(project)
    assignment = queue.lease_next(project, person)
    assert assignment is not None
    spans = [{"side": side, "start": 0, "end": 5, "reason": "good"} for side in "ab"]
    judging.submit(task, person, {"choice": "b", "highlights": spans, "reasons": ["clear"], "improved": "Oil floats."})
    path = tmp_path / "raw.json"
    exporting.write(project, "raw", format, path, names=True, extras=format == "jsonl")
    assert import_records(copy, path).bad == []
    mine, theirs = (Annotation.objects.get(project=one) for one in (project, copy))
    assert theirs.body["reasons"] == ["clear"] and theirs.body["improved"] == "Oil floats."
    words = [{one["text"] for one in found.body["highlights"]} for found in (mine, theirs)]
    assert words[0] == words[1] and len(words[0]) == 2
    texts = dict(theirs.task.responses.values_list("pk", "text"))
    assert all(texts[one["response"]].startswith(one["text"]) for one in theirs.body["highlights"])
