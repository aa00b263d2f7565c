"""What the keys of a recipe do to the files, and what a snapshot tells about itself."""

import io
import json
import zipfile

import pyarrow.parquet as parquet
import pytest

from annotation.importing import import_records
from annotation.models import Annotation
from rlhf import contents, snapshot_files, snapshots
from rlhf.models import Snapshot
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]

ALL_TRAIN = {"split": {"eval_share": 0}}


def voted(kind="preference", count=12, **fields):
    project = factories.project(kind)
    votes = [{"annotator": name, "choice": choice} for name, choice in zip("uvw", "aab", strict=True)]
    records = [
        {"id": str(n), "prompt": f"{n}?", "responses": [f"longer {n}", "short"], "annotations": votes} | fields
        for n in range(count)
    ]
    assert import_records(project, records).applied
    return project


def rows(snapshot, part="train"):
    return parquet.read_table(snapshot.folder / f"{part}.parquet").to_pylist()


def test_equal_cuts_are_equal_bytes_under_every_rule():
    project = voted()
    recipe = {"aggregation": "posterior", "ties": "half", "deduplicate": True, "license": "cc-by-4.0", **ALL_TRAIN}
    first = snapshots.cut(project, name="one", type="preference", recipe=recipe)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    for path in first.folder.iterdir():
        path.unlink()
    first.folder.rmdir()
    again = snapshots.cut(project, name="two", type="preference", recipe=recipe)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before
    assert rows(again)[0]["posterior"] > 0.5
    other = snapshots.cut(project, name="two", type="preference", recipe=recipe | {"license": "mit"})
    assert other.version == 2


def test_the_card_tells_agreement_shares_biases_licence_and_use():
    project = voted()
    recipe = {"license": "Internal only", "intended_use": "Reward models for support answers.", **ALL_TRAIN}
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe=recipe)
    card = (snapshot.folder / "README.md").read_text()
    assert 'license: other\nlicense_name: "Internal only"' in card
    assert "Krippendorff's α: -0.46" in card  # 1 - 35 * 24 / 576
    assert "most by one person: 33%" in card
    assert "the longer answer won 100.0% of 12 pairs" in card
    assert "Reward models for support answers." in card
    assert not [name for name in ("u ", "v ", "w ") if f"`{name}`" in card]
    hub = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN | {"license": "CC-BY-4.0"})
    assert "\nlicense: cc-by-4.0\n" in (hub.folder / "README.md").read_text()


def test_every_row_and_every_task_left_out_is_traceable():
    project = voted(count=4)
    tie = [{"annotator": "u", "choice": "tie"}]
    import_records(project, [{"id": "t", "prompt": "tie?", "responses": ["x", "y"], "annotations": tie}])
    snapshot = snapshots.cut(project, name="marks", type="binary", recipe=ALL_TRAIN)
    told = snapshot_files.manifest(snapshot.folder)
    assert len(told["rows"]["train"]) == len(rows(snapshot)) == 8
    judged = set(Annotation.objects.filter(pk__in=[pk for pk, _ in told["annotations"]]).values_list("task", flat=True))
    assert set(told["rows"]["train"]) == judged
    assert told["tasks_left_out"] == {"tie": [project.tasks.get(external_id="t").pk]}
    short = snapshot_files.head(snapshot.folder)
    assert short["counts"] == told["counts"] and short["annotations"] == [] and "rows" not in short


def test_what_a_snapshot_holds_is_found_with_and_without_its_index():
    project = voted(count=4)
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    ids = list(Annotation.objects.order_by("pk").values_list("pk", flat=True))
    assert contents.among(snapshot, [*ids, 10**9, 0]) == ids
    contents._held.cache_clear()
    contents._path(snapshot.folder).unlink()
    assert contents.among(snapshot, ids[:2]) == ids[:2]
    assert contents.among(snapshot, []) == []


def test_more_rows_than_a_group_are_written_in_groups(monkeypatch):
    monkeypatch.setattr(snapshot_files, "ROW_GROUP", 5)
    snapshot = snapshots.cut(voted(), name="prefs", type="preference", recipe=ALL_TRAIN)
    with parquet.ParquetFile(snapshot.folder / "train.parquet") as file:
        assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [5, 5, 2]


def test_ratings_are_cut_as_pairs_by_their_gap():
    project = factories.project("rating")
    marks = {"fine": 5, "poor": 1}
    records = [
        {"id": text, "prompt": "?", "responses": [text], "annotations": [{"annotator": "u", "ratings": {"helpful": n}}]}
        for text, n in marks.items()
    ]
    assert import_records(project, records).applied
    with pytest.raises(snapshots.SnapshotError, match="need a gap"):
        snapshots.cut(project, name="pairs", type="preference")
    snapshot = snapshots.cut(project, name="pairs", type="preference", recipe={"gap": 2, **ALL_TRAIN})
    assert [(row["chosen"][0]["content"], row["margin"]) for row in rows(snapshot)] == [("fine", 4.0)]
    assert snapshot.counts["annotations"] == 2


@pytest.mark.parametrize(
    ("recipe", "field"),
    [
        ({"ties": "both"}, "ties"),
        ({"deduplicate": "yes"}, "deduplicate"),
        ({"exclude_guidelines": ["1"]}, "exclude_guidelines"),
        ({"gap": -1}, "gap"),
        ({"license": "a\nb"}, "license"),
        ({"split": {"by": "time"}}, "split.at"),
        ({"split": {"by": "time", "seed": 1}}, "split.seed"),
    ],
)
def test_a_bad_rule_is_refused_by_its_key(recipe, field):
    with pytest.raises(snapshots.SnapshotError) as refused:
        snapshots.check_recipe(recipe)
    assert refused.value.field == field


def test_a_cut_that_fails_leaves_no_folder(data_folder):
    with pytest.raises(snapshots.SnapshotError):
        snapshots.cut(factories.project(), name="prefs", type="preference")
    assert list((data_folder / "snapshots").iterdir()) == []
    assert not Snapshot.objects.exists()


def test_the_zip_streams_the_very_files(client):
    project = voted()
    snapshot = snapshots.cut(project, name="prefs", type="preference")
    client.force_login(factories.member(project, "trainer"))
    reply = client.get(f"{snapshot.get_absolute_url()}snapshot.zip")
    assert reply.streaming
    with zipfile.ZipFile(io.BytesIO(b"".join(reply.streaming_content))) as archive:
        for path in snapshot.folder.iterdir():
            assert archive.read(f"prefs-v1/{path.name}") == path.read_bytes()


@pytest.mark.slow
def test_datasets_loads_the_folder(tmp_path):
    datasets = pytest.importorskip("datasets")
    snapshot = snapshots.cut(voted(count=30), name="prefs", type="preference", recipe={"split": {"eval_share": 0.3}})
    loaded = datasets.load_dataset(str(snapshot.folder), cache_dir=str(tmp_path / "cache"))
    assert {part: loaded[part].num_rows for part in loaded} == {
        part: snapshot.counts[part] for part in ("train", "eval")
    }
    assert loaded["train"][0] == rows(snapshot)[0]
    assert json.loads((snapshot.folder / "manifest.json").read_text())["files"]["train.parquet"]["rows"] > 0
