"""The containers of an export: a saved `datasets` folder and its zip, Label Studio's JSON, Argilla's records."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from annotation import exporting
from annotation.importing import import_records
from annotation.models import Project
from annotation.splitting import Split
from tests import factories

pytestmark = pytest.mark.django_db


def filled(kind: str, *records: dict[str, Any]) -> Project:
    project = factories.project(kind)
    assert import_records(project, [{"prompt": "Which?", **record} for record in records]).applied
    return project


def pairs(number: int = 30) -> Project:
    vote = {"annotator": "ann", "choice": "a", "strength": 2, "rationale": "=clear", "flags": ["unclear"]}
    return filled(
        "preference",
        *({"prompt": f"{n}?", "id": str(n), "responses": ["x", "y"], "annotations": [vote]} for n in range(number)),
    )


def array(project: Project, format: str) -> list[dict[str, Any]]:
    found = json.loads(b"".join(exporting.stream(project, "raw", format, names=True)))
    assert isinstance(found, list)
    return found


@pytest.mark.slow
def test_datasets_loads_the_folder_with_the_same_rows(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    project = pairs()
    for type, options in [
        ("preference", {"flags": "keep", "extras": True}),
        ("raw", {}),
        ("binary", {"flags": "keep"}),
    ]:
        wanted = list(exporting.rows(project, type, **options))
        size = exporting.write(project, type, "datasets", tmp_path / type, **options)
        loaded = datasets.load_from_disk(str(tmp_path / type))
        assert size == sum(path.stat().st_size for path in (tmp_path / type).iterdir())
        assert loaded.num_rows == len(wanted)
        for column in ("prompt", "chosen", "completion", "label", "task_id", "created_at"):
            if column in loaded.column_names:
                assert list(loaded[column]) == [row[column] for row in wanted]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary", "preference", "raw"]


def test_a_split_folder_is_a_dataset_dict_and_comes_zipped_over_http(tmp_path: Path, client: Any) -> None:
    datasets = pytest.importorskip("datasets")
    project = pairs()
    client.force_login(factories.member(project, "reader"))
    address = (
        f"/api/v1/projects/{project.slug}/export/?type=preference&format=datasets&flags=keep&eval_share=0.3&seed=3"
    )
    reply = client.get(address)
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{project.slug}-preference.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(reply.streaming_content))) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    loaded = datasets.load_from_disk(str(tmp_path / f"{project.slug}-preference"))
    split = Split(eval_share=0.3, seed=3)
    for part in ("train", "eval"):
        wanted = [row["task_id"] for row in exporting.rows(project, "preference", flags="keep", split=split, part=part)]
        assert list(loaded[part]["task_id"]) == wanted
        assert wanted


def test_a_folder_with_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(FileExistsError):
        exporting.write(pairs(1), "raw", "datasets", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_equal_exports_are_equal_bytes() -> None:
    project = pairs(3)
    first, second = (b"".join(exporting.stream(project, "preference", "datasets", flags="keep")) for _ in range(2))
    assert first == second


def test_label_studio_gets_tasks_with_results() -> None:
    (task,) = array(pairs(1), "label-studio")
    assert task["data"]["prompt"] == [{"role": "user", "content": "0?"}]
    assert (task["data"]["response_a"], task["data"]["response_b"], task["data"]["id"]) == ("x", "y", "0")
    (annotation,) = task["annotations"]
    assert "completed_by" not in annotation  # Label Studio refuses a file that names whom it does not know
    assert annotation["result"][0]["meta"]["hone"]["annotator"] == "ann"
    results = {result["from_name"]: (result["type"], result["value"]) for result in annotation["result"]}
    assert results == {
        "choice": ("pairwise", {"selected": "left"}),
        "strength": ("number", {"number": 2}),
        "rationale": ("textarea", {"text": ["=clear"]}),
        "flags": ("choices", {"choices": ["unclear"]}),
    }


def test_argilla_gets_records_with_responses_by_question() -> None:
    orders = [{"annotator": "ann", "ranking": ["b", ["a", "c"]]}, {"annotator": "ben", "ranking": ["b", "a", "c"]}]
    project = filled("ranking", {"id": "r", "responses": ["x", "y", "z"], "annotations": orders, "metadata": {"k": 1}})
    (record,) = array(project, "argilla")
    assert (record["id"], record["metadata"]["k"]) == ("r", 1)
    assert record["metadata"].keys() == {"k", "hone_judgements"}
    assert record["fields"]["response_c"] == "z"
    first, second = record["responses"]["ranking"]
    assert record["metadata"]["hone_judgements"][first["user_id"]]["annotator"] == "ann"
    assert first["value"] == [{"value": "a", "rank": 2}, {"value": "b", "rank": 1}, {"value": "c", "rank": 2}]
    assert [place["rank"] for place in second["value"]] == [2, 1, 3]


@pytest.mark.parametrize("format", ["label-studio", "argilla"])
def test_an_empty_project_is_an_empty_array(format: str) -> None:
    assert array(factories.project(), format) == []


def test_raw_rows_with_extras_hold_the_task_that_they_judge() -> None:
    project = pairs(1)
    (row,) = exporting.rows(project, "raw", extras=True)
    assert (row["prompt"][0]["content"], row["priority"], row["gold"]) == ("0?", 0, None)
    assert [response["text"] for response in row["responses"]] == ["x", "y"]
    assert row["body"]["choice"] == row["responses"][0]["id"]


def test_names_of_files_are_safe() -> None:
    project = factories.project(slug="support-2")
    assert exporting.file_name(project, "raw", "label-studio") == "support-2-raw.json"
    assert exporting.file_name(project, "preference", "csv", "eval") == "support-2-preference-eval.csv"
