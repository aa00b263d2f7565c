import hashlib
import json
import shutil

import pyarrow.parquet as parquet
import pytest
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from annotation import freezing, judging, queue, reviewing, splitting, tasks
from annotation.importing import import_records
from annotation.models import Annotation
from annotation.sameness import prompt_key
from rlhf import cutting, differences, prompts, snapshots
from rlhf.models import Cut, Snapshot
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def asked(number):
    return [{"role": "user", "content": f"Question {number}?"}]


def judged(count=20, choice="a", **fields):
    """A preference project in which one person has judged `count` tasks."""
    project = factories.project(overlap=1)
    for number in range(count):
        factories.task(project, [f"good {number}", f"bad {number}"], prompt=asked(number), **fields)
    judge_all(project, factories.member(project), choice)
    return project


def judge_all(project, person, choice="a", strength=2):
    while assignment := queue.lease_next(project, person):
        body = {"choice": choice, "strength": 0 if choice in ("tie", "both_bad") else strength}
        judging.submit(assignment.task, person, body)


def rows(snapshot, split):
    return parquet.read_table(snapshot.folder / f"{split}.parquet").to_pylist()


def test_a_preference_snapshot_has_the_columns_that_trainers_read():
    project = judged()
    snapshot = snapshots.cut(project, name="prefs", type="preference")
    assert {path.name for path in snapshot.folder.iterdir()} == {
        "manifest.json", "train.parquet", "eval.parquet", "README.md",
    }  # fmt: skip
    train, held_out = rows(snapshot, "train"), rows(snapshot, "eval")
    assert list(train[0]) == ["prompt", "chosen", "rejected", "margin", "agreement", "weight", "task_id"]
    assert len(train) + len(held_out) == 20 and held_out
    assert train[0]["chosen"][0]["role"] == "assistant"
    assert snapshot.counts["annotations"] == 20 and snapshot.counts["annotators"] == 1


def test_a_snapshot_of_rankings_tells_each_answers_place_and_what_changed(client):
    project = factories.project("ranking")
    tied = {"annotator": "ann", "ranking": [["a", "b", "c"]]}
    votes = [{"annotator": "ann", "ranking": ["b", ["a", "c"]]}, {"annotator": "ben", "ranking": ["b", "a", "c"]}]
    records = [
        {"id": "1", "prompt": "Which?", "responses": ["x", "yy", "z"], "annotations": votes},
        {"id": "2", "prompt": "Who?", "responses": ["p", "q", "r"], "annotations": [tied]},
    ]
    assert import_records(project, records).applied
    recipe = {"split": {"eval_share": 0}}
    made = snapshots.cut(project, name="orders", type="ranking", recipe=recipe)
    (row,) = rows(made, "train")
    assert list(row) == ["prompt", "responses", "ranks", "agreement", "weight", "task_id"]
    assert (row["responses"], row["ranks"]) == (["x", "yy", "z"], [2.25, 1.0, 2.75])
    assert made.counts["left_out"] == {"tie": 1}
    card = (made.folder / "README.md").read_text()
    assert "Rankings" in card and "`ranks`: the place" in card and "the longer answer won 100.0% of 2 pairs" in card
    more = snapshots.cut(project, name="orders", type="ranking", recipe=recipe | {"ties": "half"})
    assert differences.compare(made, more)["added"]["why"] == {"was left out: tie": 1}
    client.force_login(factories.member(project, role="trainer"))
    assert b"<small>2.75</small> z" in client.get(more.get_absolute_url()).content
    url = reverse("rlhf:diff_snapshots", args=[project.slug, more.pk, made.pk])
    assert client.get(url).content.count(b"<small>Place 2</small>") == 3


def test_the_manifest_tells_everything_and_its_hashes_hold():
    snapshot = snapshots.cut(judged(), name="prefs", type="preference")
    manifest = json.loads((snapshot.folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((snapshot.folder / name).read_bytes()).hexdigest() == entry["sha256"]
    assert set(manifest["files"]) == {"train.parquet", "eval.parquet", "README.md"}
    assert [tuple(pair) for pair in manifest["annotations"]] == sorted(Annotation.objects.values_list("pk", "revision"))
    assert manifest["recipe"]["split"] == {"by": "prompt", "eval_share": 0.1, "seed": 0, "near": True}
    assert manifest["content_hash"] == snapshot.content_hash
    assert snapshot.path == f"snapshots/{snapshot.content_hash[:16]}"
    assert manifest["hone_version"]


def test_the_same_judgements_and_recipe_give_the_same_bytes_and_nothing_edits_them(client):
    project = judged()
    first = snapshots.cut(project, name="prefs", type="preference")
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    for path in first.folder.iterdir():
        path.unlink()
    first.folder.rmdir()
    again = snapshots.cut(project, name="other", type="preference")
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before
    assert (again.content_hash, again.path) == (first.content_hash, first.path)
    assert snapshots.cut(project, name="other", type="preference") == again
    more = snapshots.cut(project, name="other", type="preference", recipe={"split": {"by": "prompt", "seed": 1}})
    assert (more.version, more.content_hash == first.content_hash) == (2, False)
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == before
    client.force_login(factories.admin())
    for method in (client.patch, client.put, client.delete):
        reply = method(f"/api/v1/snapshots/{again.pk}/", {"name": "x"}, content_type="application/json")
        assert reply.status_code == 405


def test_all_rows_of_a_prompt_are_in_one_split_and_stay_there_as_data_grows():
    project = factories.project()
    person = factories.member(project)
    for number in range(60):
        factories.task(project, [f"x {number}", f"y {number}"], prompt=asked(number % 20))
    judge_all(project, person)
    split = {"split": {"by": "prompt", "eval_share": 0.3}}
    first = snapshots.cut(project, name="prefs", type="preference", recipe=split)
    sides = [{row["prompt"][0]["content"] for row in rows(first, name)} for name in ("train", "eval")]
    assert not sides[0] & sides[1] and all(sides)
    for number in range(20, 40):
        factories.task(project, [f"x {number}", f"y {number}"], prompt=asked(number))
    judge_all(project, person)
    second = snapshots.cut(project, name="prefs", type="preference", recipe=split)
    later = [{row["prompt"][0]["content"] for row in rows(second, name)} for name in ("train", "eval")]
    assert sides[0] <= later[0] and sides[1] <= later[1]


def test_a_split_by_metadata_never_trains_on_a_prompt_it_tests():
    project = factories.project()
    for number in range(6):
        split = "test" if number < 2 else "train"
        factories.task(project, [f"x {number}", "y"], prompt=asked(number), metadata={"split": split})
    factories.task(project, ["x", "y"], prompt=asked(0), metadata={"split": "train"})
    judge_all(project, factories.member(project))
    recipe = {"split": {"by": "metadata", "key": "split", "eval": "test"}}
    snapshot = snapshots.cut(project, name="hh", type="preference", recipe=recipe)
    assert (snapshot.counts["train"], snapshot.counts["eval"]) == (4, 2)
    assert snapshot.counts["left_out"] == {"prompt is in the eval split": 1}


def test_prompts_held_out_that_are_or_nearly_are_trained_on_are_told_before_and_after_the_cut(client):
    project, long = factories.project(), "Why does the sea look blue from far away but clear in my hand"
    texts = [f"{long} today?", f"{long} tonight?", "Why?", "Who is she?"]
    for place, text in enumerate(texts):
        prompt = [{"role": "user", "content": text}]
        factories.task(project, ["x", "y"], prompt=prompt, metadata={"split": "test" if place == 0 else "train"})
    judge_all(project, factories.member(project))
    recipe = {"split": {"by": "metadata", "key": "split", "eval": "test", "near": False}}
    near = "1 of 1 held-out prompts says the same (0) or nearly the same (1) as a prompt to train on"
    assert snapshots.preview(project, "preference", recipe)["warning"].startswith(near)
    made = snapshots.cut(project, name="near", type="preference", recipe=recipe)
    assert f"**{near}" in (made.folder / "README.md").read_text()
    assert not snapshots.preview(project, "preference", {"split": recipe["split"] | {"near": True}})["warning"]
    task = {"prompt": [{"role": "user", "content": "why"}], "responses": [{"text": "x"}, {"text": "y"}]}
    tasks.add_tasks(project, [task | {"id": name} for name in "ef"], purpose="evaluation")
    both = "2 of 2 held-out prompts say the same (1) or nearly the same (1)"
    assert snapshots.preview(project, "preference", recipe)["warning"].startswith(both)
    manifest = (made.folder / "manifest.json").read_bytes()
    shutil.rmtree(made.folder)
    again = snapshots.cut(project, name="near", type="preference", recipe=recipe)
    assert (again.folder / "manifest.json").read_bytes() == manifest  # whatever is evaluated meanwhile
    client.force_login(factories.member(project, role="trainer"))
    page = client.get(reverse("rlhf:new_snapshot", args=[project.slug])).content.decode()
    assert "1 of 1 held-out prompts says the same (1)" in page  # its recipe keeps the near ones on one side


def test_ties_are_left_out_and_counted():
    project = judged(5, choice="tie")
    assert snapshots.preview(project, "preference")["left_out"] == {"tie": 5}
    with pytest.raises(snapshots.SnapshotError, match="left out 5 tie"):
        snapshots.cut(project, name="prefs", type="preference")
    assert not Snapshot.objects.exists()


def test_judgements_of_evaluations_never_enter():
    project = judged(20)
    pair = [{"text": "one"}, {"text": "two"}]
    tasks.add_tasks(project, [{"id": "e", "prompt": asked("secret"), "responses": pair}], purpose="evaluation")
    judge_all(project, factories.member(project))
    snapshot = snapshots.cut(project, name="prefs", type="preference")
    everything = rows(snapshot, "train") + rows(snapshot, "eval")
    assert len(everything) == 20
    assert not [row for row in everything if "secret" in row["prompt"][0]["content"]]
    with pytest.raises(snapshots.SnapshotError):
        snapshots.check_recipe({"purpose": "evaluation"})


def test_simulated_raters_are_marked_in_manifest_and_card():
    project = judged(10)
    Annotation.objects.update(annotator=factories.user("simulated-1", is_simulated=True))
    snapshot = snapshots.cut(
        project, name="prefs", type="preference", recipe={"split": {"by": "prompt", "eval_share": 0}}
    )
    card = (snapshot.folder / "README.md").read_text()
    assert json.loads((snapshot.folder / "manifest.json").read_text())["simulated_share"] == 1.0
    assert snapshot.simulated_share == 1.0
    assert "100% of its judgements were made by simulated raters" in card
    assert card.startswith("---\n") and "- split: train" in card


def test_the_card_is_one_that_the_hub_accepts():
    from huggingface_hub import DatasetCard

    snapshot = snapshots.cut(judged(), name="prefs", type="preference")
    card = DatasetCard.load(snapshot.folder / "README.md")
    data = card.data.to_dict()
    assert data["task_categories"] == ["text-generation"]
    assert data["size_categories"] == ["n<1K"]
    assert [each["split"] for each in data["configs"][0]["data_files"]] == ["train", "eval"]


def test_demonstrations_become_prompts_and_completions():
    project = factories.project("demonstration")
    for number in range(10):
        factories.task(project, prompt=asked(number))
    person = factories.member(project)
    while assignment := queue.lease_next(project, person):
        judging.submit(assignment.task, person, {"text": f"Answer {assignment.task_id}."})
    snapshot = snapshots.cut(project, name="demos", type="sft", recipe={"split": {"by": "prompt", "eval_share": 0}})
    assert list(rows(snapshot, "train")[0]) == ["prompt", "completion"]
    assert (snapshot.counts["train"], snapshot.counts["eval"]) == (10, 0)


@pytest.mark.parametrize(
    ("recipe", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"split": {"by": "moon"}}, "split"),
        ({"split": {"by": "prompt", "eval_share": 2}}, "split.eval_share"),
        ({"split": {"by": "prompt", "key": "x"}}, "split.key"),
        ({"aggregation": "best"}, "aggregation"),
        ({"min_agreement": "high"}, "min_agreement"),
        ({"since": "yesterday"}, "since"),
        ({"exclude_annotators": "bob"}, "exclude_annotators"),
    ],
)
def test_a_bad_recipe_is_refused_by_its_key(recipe, field):
    with pytest.raises(snapshots.SnapshotError) as refused:
        snapshots.check_recipe(recipe)
    assert refused.value.field == field


def test_a_project_gives_only_what_its_kind_can():
    with pytest.raises(snapshots.SnapshotError, match="preference project gives"):
        snapshots.cut(judged(3), name="x", type="rating")


def test_what_a_round_holds_out_says_nothing_about_the_split_of_its_snapshot():
    everything = [{"id": str(number), "prompt": asked(number)} for number in range(200)]
    rest, _ = prompts.hold_out(everything, 80, seed=0)
    held_out = sum(splitting.is_drawn(prompt_key(row["prompt"]), 0.2, 0) for row in rest)
    assert 12 < held_out < 36  # 24 of 120 expected; none at all when both draw the same hash


def test_a_judgement_in_a_snapshot_is_frozen_and_a_later_one_is_not():
    project = judged(3)
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe={"split": {"eval_share": 0}})
    held = Annotation.objects.order_by("pk").first()
    with pytest.raises(freezing.Frozen, match="prefs v1"):
        judging.submit(held.task, held.annotator, {"choice": "b", "strength": 1})
    factories.task(project)
    judge_all(project, held.annotator)
    later = Annotation.objects.order_by("pk").last()
    assert freezing.holders([held, later]) == {held.pk: str(snapshot)}
    assert judging.undo(later, held.annotator).task_id == later.task_id


def test_the_manifest_names_the_rulings_that_counted():
    project = judged(3)
    reviewer = factories.member(project, "reviewer")
    task = Annotation.objects.order_by("pk").first().task
    ruling = reviewing.overrule(task, reviewer, {"choice": "b", "strength": 3})
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe={"split": {"eval_share": 0}})
    manifest = json.loads((snapshot.folder / "manifest.json").read_text())
    assert manifest["adjudications"] == [ruling.pk] and manifest["recipe"]["rulings"] == "prefer"
    ignoring = snapshots.cut(project, name="votes", type="preference", recipe={"rulings": "ignore"})
    assert json.loads((ignoring.folder / "manifest.json").read_text())["adjudications"] == []


def test_a_large_project_is_counted_and_cut_by_the_worker(client, monkeypatch, django_capture_on_commit_callbacks):
    project = judged(6)
    monkeypatch.setattr(cutting, "SMALL", 5)
    client.force_login(factories.member(project, role="trainer"))
    form = {"name": "prefs", "type": "preference", "aggregation": "majority", "min_agreement": 0, "eval_share": 0}
    form |= {"seed": 0, "split_by": "prompt", "drop_flagged": "on"}

    def counted():
        return client.post(reverse("rlhf:preview_snapshot", args=[project.slug]), form).content.decode()

    with django_capture_on_commit_callbacks(execute=True):
        assert "Counting" in counted() and "Counting" in counted()
        form["eval_share"] = 0.5
        assert "Counting" in counted()
    first, _ = DBTaskResult.objects.order_by("enqueued_at")  # asking twice is asking once
    cutting.count_later.call(*first.args_kwargs["args"])
    form["eval_share"] = 0
    assert "Counting" in counted()  # another recipe was asked about meanwhile, so this one was given up
    cutting.count_later.call(*first.args_kwargs["args"])
    assert "6 pairs, nothing left out" in counted()
    with django_capture_on_commit_callbacks(execute=True):
        cut = client.post(reverse("rlhf:new_snapshot", args=[project.slug]), form)["Location"]
    assert "Waiting for the worker" in client.get(cut).content.decode()
    made = Cut.objects.get()
    assert client.get(f"/api/v1/snapshots/cuts/{made.pk}/").json()["state"] == "queued"
    cutting.carry_out(made.pk)
    url = Snapshot.objects.get().get_absolute_url()
    assert client.get(cut)["Location"] == client.get(cut, headers={"HX-Request": "true"})["HX-Redirect"] == url
    body = {"project": project.slug, "name": "more", "type": "preference", "recipe": {"min_agreement": 1, "ties": "x"}}
    assert client.post("/api/v1/snapshots/", body, content_type="application/json").status_code == 400
    body["recipe"] = {"metadata": {"lang": "en"}}
    failing = client.post("/api/v1/snapshots/", body, content_type="application/json")
    assert failing.status_code == 202
    cutting.carry_out(failing.json()["id"])
    assert client.get(failing["Location"]).json()["problem"].startswith("No rows to train on")
    beats = []
    snapshots.cut(project, name="more", type="preference", beat=lambda: beats.append(1))
    ago = timezone.now() - cutting.SILENCE
    Cut.objects.update(state="queued", changed_at=ago)
    assert beats and cutting.sweep() == 0
    Cut.objects.filter(pk=made.pk).update(state="running")
    assert cutting.sweep() == 1 and "worker died" in Cut.objects.get(pk=made.pk).problem
    client.force_login(factories.user())
    assert {client.get(cut).status_code, client.get(failing["Location"]).status_code} == {404}
