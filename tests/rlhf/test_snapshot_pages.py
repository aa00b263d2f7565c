import io
import re
import zipfile

import pytest

from rlhf import figures, snapshots
from tests.rlhf.page_rows import address, fetched, judged

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def test_a_snapshot_is_previewed_frozen_and_read(client, trainer):
    judged(trainer)
    form = {
        "name": "prefs",
        "type": "preference",
        "aggregation": "majority",
        "min_agreement": 0,
        "split_by": "prompt",
        "eval_share": 0.2,
        "seed": 3,
        "drop_flagged": "on",
    }
    preview = client.post(address("preview_snapshot", trainer), form).content.decode()
    assert "11 pairs, 1 left out: 1 flagged" in preview and "All judgments are simulated" in preview
    answer = client.post(address("new_snapshot", trainer), form)
    snapshot = trainer.snapshots.get()
    assert answer["Location"] == snapshot.get_absolute_url() and snapshot.recipe["split"]["seed"] == 3
    page = client.get(snapshot.get_absolute_url()).content.decode()
    for words in (
        "All judgments are simulated",
        "by prompt, 20% held out, seed 3",
        "Flagged",
        "Question 1",
        "Preferences from",
    ):
        assert words in page, words
    fragment = client.get(snapshot.get_absolute_url(), {"part": "eval"}, headers={"HX-Target": "rows"})
    assert b"<html" not in fragment.content
    listed = client.get(address("datasets", trainer)).content.decode()
    assert "prefs v1" in listed and "All judgments are simulated" in listed


def test_the_form_takes_every_rule_of_a_recipe_and_the_next_version_begins_with_them(client, trainer):
    judged(trainer)
    version = trainer.write_guidelines("Be kind.").number
    form = {"name": "prefs", "type": "preference", "aggregation": "majority", "min_agreement": 0, "eval_share": 0}
    form |= {"seed": 0, "split_by": "prompt", "exclude_flags": ["unsafe"], "rulings": "ignore"}
    form["exclude_guidelines"] = f"{version}, 7"
    wrong = client.post(address("preview_snapshot", trainer), form | {"where": "[1]", "exclude_guidelines": "one"})
    assert wrong.status_code == 422 and b"Give an object" in wrong.content and b"numbers of versions" in wrong.content
    client.post(address("new_snapshot", trainer), form | {"where": '{"lang": "en"}'})
    assert not trainer.snapshots.exists()  # no task is in English
    client.post(address("new_snapshot", trainer), form)
    snapshot = trainer.snapshots.get()
    kept = {key: snapshot.recipe[key] for key in ("exclude_flags", "exclude_guidelines", "rulings")}
    assert kept == {"exclude_flags": ["unsafe"], "exclude_guidelines": [version, 7], "rulings": "ignore"}
    again = client.get(address("new_snapshot", trainer) + f"?like={snapshot.pk}").content.decode()
    assert f'value="{version}, 7"' in again and '<option value="ignore" selected' in again
    assert re.search(r'value="unsafe"[^>]* checked', again)


def test_a_snapshot_is_downloaded_whole_or_by_file(client, trainer):
    judged(trainer, simulated=False)
    snapshot = snapshots.cut(trainer, name="prefs", type="preference")
    archive = fetched(client, address("download_snapshot", trainer, snapshot.pk))
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        assert sorted(packed.namelist()) == [
            f"prefs-v1/{name}" for name in ("README.md", "eval.parquet", "manifest.json", "train.parquet")
        ]
        assert packed.read("prefs-v1/train.parquet") == (snapshot.folder / "train.parquet").read_bytes()
    assert fetched(client, f"/api/v1/snapshots/{snapshot.pk}/download/") == archive
    assert b"content_hash" in fetched(client, address("snapshot_file", trainer, snapshot.pk, "manifest.json"))
    assert client.get(address("snapshot_file", trainer, snapshot.pk, "..")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eval_share": "1.5"}, "0.9"),
        ({"name": "two words"}, "slug"),
        ({"drop_flagged": "on", "min_agreement": "x"}, "number"),
        ({}, "No rows"),
        ({"exclude_annotators": "nobody"}, "Leave out annotators: exclude_annotators names &#x27;nobody&#x27;, but"),
    ],
)
def test_a_recipe_that_gives_nothing_is_not_frozen(client, trainer, changes, words):
    form = {
        "name": "prefs",
        "type": "preference",
        "aggregation": "majority",
        "min_agreement": 0,
        "split_by": "prompt",
        "eval_share": 0.2,
        "seed": 3,
    }
    answer = client.post(address("new_snapshot", trainer), form | changes)
    assert answer.status_code == 422 and words in answer.content.decode() and not trainer.snapshots.exists()


def test_a_few_people_among_the_simulated_are_not_rounded_away() -> None:
    assert figures.simulated_words(0.9991) == "99% of the judgments are simulated"
    assert figures.simulated_words(0.0004) == "1% of the judgments are simulated"
    assert [figures.simulated_percent(share) for share in (0.0, 0.5, 1.0)] == [0, 50, 100]
