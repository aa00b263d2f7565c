"""From a model down to the judgements, from a judgement up to the models, and what is taken back."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from annotation import exporting
from annotation.importing import import_records
from annotation.models import Annotation, User, Withdrawal
from rlhf import comparing, contents, differences, lineage, registry, snapshots, withdrawing, withdrawn
from rlhf.models import Model, Run
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]

ALL_TRAIN = {"split": {"eval_share": 0}}


def records(*numbers, **fields):
    votes = [{"annotator": name, "choice": "a"} for name in ("ann", "ben")]
    answers = [{"text": "x", "source": "policy-1"}, {"text": "y", "source": "policy-0"}]
    about = {"responses": answers, "annotations": votes} | fields
    return [{"id": str(n), "prompt": f"Question {n}?", **about} for n in numbers]


def judged(*numbers, **fields):
    project = factories.project()
    assert import_records(project, records(*numbers, **fields)).applied
    return project


def trained(project, snapshot):
    """A reward model on the snapshot, a policy trained with it, and one that starts from that policy."""

    def made(name, role="policy", parent=None, **run):
        done = Run.objects.create(project=project, name=f"run-{name}", kind="ppo", state="succeeded", **run)
        return Model.objects.create(project=project, name=name, role=role, run=done, parent=parent, path="models/x")

    base = Model.objects.create(project=project, name="base", role="policy", path="models/base")
    reward = made("reward", "reward", base, snapshot=snapshot)
    policy = made("policy", "policy", base, start_model=base, reward_model=reward)
    return made("later", "policy", policy, start_model=policy)


def test_a_model_tells_everything_behind_it(client):
    project = judged(1, 2)
    version = project.write_guidelines("Be kind.")
    Annotation.objects.filter(annotator__username="ann").update(guideline=version)
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    trained(project, snapshot)
    client.force_login(factories.member(project, "manager"))
    told = client.get("/api/v1/models/later/lineage/").json()
    assert [one["name"] for one in told["models"]] == ["base", "reward", "policy", "later"]
    assert [run["name"] for run in told["runs"]] == ["run-reward", "run-policy", "run-later"]
    (row,) = told["snapshots"]
    assert (row["annotators"], row["guidelines"]) == ({"ann": 2, "ben": 2}, {"1": 2, "none": 2})
    assert row["sources"] == {"policy-1": 4, "policy-0": 4}
    listed, address = [], f"{row['annotations']}?limit=3"
    while address:
        some = client.get(address).json()
        listed, address = [*listed, *some["results"]], some["next"]
    used = json.loads((snapshot.folder / "manifest.json").read_text())["annotations"]
    assert [[one["annotation_id"], one["revision"]] for one in listed] == used and len(used) == 4
    assert {(one["annotator"], one["guideline_version"]) for one in listed} == {("ann", 1), ("ben", None)}
    assert listed[0]["sources"] == ["policy-1", "policy-0"]
    page = client.get("/models/later/lineage/").content.decode()
    assert "run-reward" in page and "Version 1" in page and "ann" in page
    client.force_login(factories.member(project, "trainer"))
    names = client.get("/api/v1/models/later/lineage/").json()["snapshots"][0]["annotators"]
    assert len(names) == 2 and all(name.startswith("annotator-") for name in names)
    assert {one["annotator"] for one in client.get(row["annotations"]).json()["results"]} == set(names)
    client.force_login(factories.user())
    assert client.get("/api/v1/models/later/lineage/").status_code == 404
    assert client.get(row["annotations"]).status_code == 404


def test_a_judgement_and_a_person_tell_what_they_reached(client):
    project = judged(1, 2)
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    trained(project, snapshot)
    import_records(project, records(3))
    first, last = Annotation.objects.order_by("pk").first(), Annotation.objects.order_by("pk").last()
    client.force_login(factories.member(project, "reviewer"))
    told = client.get(f"/api/v1/annotations/{first.pk}/lineage/").json()
    assert told["snapshots"] == [{"id": snapshot.pk, "name": "prefs v1", "judgements": 1}]
    assert [one["name"] for one in told["models"]] == ["reward", "policy", "later"]
    assert client.get(f"/api/v1/annotations/{last.pk}/lineage/").json()["snapshots"] == []
    told = client.get(f"/api/v1/projects/{project.slug}/annotators/ann/lineage/").json()
    assert (told["judgements"], told["snapshots"][0]["judgements"]) == (3, 2)
    page = client.get(f"/projects/{project.slug}/lineage/?annotator=ann").content.decode()
    assert "prefs v1" in page and "later" in page
    client.force_login(factories.user())
    assert client.get(f"/api/v1/annotations/{first.pk}/lineage/").status_code == 404
    assert client.get(f"/projects/{project.slug}/lineage/").status_code == 404


def test_withdrawn_judgements_leave_later_data_and_mark_earlier(client):
    project = judged(1, 2)
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    trained(project, snapshot)
    ann, lead = User.objects.get(username="ann"), factories.member(project, "manager")
    made = withdrawing.withdraw(project, by=lead, reason="Consent taken back.", annotator=ann)
    assert [one["name"] for one in made.effects["models"]] == ["reward", "policy", "later"]
    snapshot.refresh_from_db()
    assert snapshot.withdrawn == 2
    assert {row["annotator"] for row in exporting.rows(project, "raw", names=True, history=True)} == {"ben"}
    second = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    assert (second.version, second.counts["annotations"], second.withdrawn) == (2, 2, 0)
    assert not contents.among(second, Annotation.objects.filter(annotator=ann).values_list("pk", flat=True))
    with pytest.raises(withdrawing.WithdrawalError, match="withdrawn before"):
        withdrawing.withdraw(project, by=lead, reason="Again.", annotator=ann)
    client.force_login(lead)
    page = client.get(snapshot.get_absolute_url()).content.decode()
    assert "2 of its judgments were withdrawn" in page and "later" in page


def test_what_was_withdrawn_behind_a_model_is_told_wherever_the_model_is(client, django_assert_num_queries):
    project = judged(1, 2)
    snapshot = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    later = trained(project, snapshot)
    registry.promote(later, by=None, reason="Best.")
    manager = factories.member(project, "manager")
    client.force_login(manager)
    pages = ["/models/later/", f"/projects/{project.slug}/models/", f"/projects/{project.slug}/loop/"]
    assert not any("withdrawn" in client.get(path).content.decode() for path in pages)
    assert client.get("/api/v1/models/later/").json()["withdrawn"] == []
    training = Run.objects.create(project=project, name="rm-now", kind="reward", state="running", snapshot=snapshot)
    queued = Run.objects.create(project=project, name="ppo-next", kind="ppo", state="queued", start_model=later)
    Run.objects.create(project=project, name="apart", kind="sft", state="running")
    ann = User.objects.get(username="ann")
    assert [run["name"] for run in withdrawing.effects(project, annotator=ann)["runs"]] == ["rm-now", "ppo-next"]
    withdrawing.withdraw(project, by=None, reason="Asked to.", annotator=ann)

    assert all("withdrawn since" in client.get(path).content.decode() for path in (pages[0], pages[2]))
    listed = client.get(pages[1]).content.decode()
    assert listed.count("Data withdrawn") == 3  # every model but the base
    row = {"snapshot": snapshot.pk, "name": "prefs v1", "judgements": 2}
    assert client.get("/api/v1/models/later/").json()["withdrawn"] == [row]
    told = {one["name"]: one["withdrawn"] for one in client.get("/api/v1/models/").json()["results"]}
    assert told == {"base": [], "reward": [row], "policy": [row], "later": [row]}
    with django_assert_num_queries(2):
        assert len(withdrawn.behind_models()) == 3

    assert "2 judgments withdrawn since" in client.get(training.get_absolute_url()).content.decode()
    assert "2 judgments withdrawn" in client.get(f"/projects/{project.slug}/runs/new/?kind=reward").content.decode()
    address = f"/projects/{project.slug}/lineage/"
    page = client.get(address).content.decode()
    assert "rm-now" in page and "ppo-next" in page and "apart" not in page
    retrain = client.get(f"/api/v1/projects/{project.slug}/withdrawals/").json()["results"][0]["retrain"]
    assert retrain == {"models": ["reward", "policy", "later"], "runs": ["rm-now", "ppo-next"]}
    Run.objects.filter(pk__in=[training.pk, queued.pk]).update(state="succeeded")
    Model.objects.create(project=project, name="rm-now", role="reward", run=training, path="models/y")
    assert ">rm-now</a>" in client.get(address).content.decode()  # what it made since stands on them too
    asked = client.get(f"{address}?annotator=ann").content.decode()
    assert ">rm-now</a>" in asked and "Under way" not in asked


def test_a_withdrawn_prompt_takes_its_near_duplicates_and_later_imports_with_it():
    project = judged(1, 2)
    import_records(project, records(10, prompt="question 1"))
    task = project.tasks.get(external_id="1")
    made = withdrawing.withdraw(project, by=None, reason="Names a person.", task=task)
    assert made.effects["judgements"] == 4
    import_records(project, records(11, prompt="QUESTION  1?!"))
    left = {row["external_id"] for row in exporting.rows(project, "preference", extras=True)}
    assert left == {"2"}


def test_the_page_asks_twice_and_only_a_manager_is_asked(client):
    project = judged(1)
    address = f"/projects/{project.slug}/lineage/"
    client.force_login(factories.member(project, "reviewer"))
    assert client.post(address, {"annotator": "ann", "reason": "x", "sure": "1"}).status_code == 403
    client.force_login(factories.member(project, "manager"))
    assert "Withdraw 1 judgment" in client.get(address, {"annotator": "ann"}).content.decode()
    assert "Say why" in client.post(address, {"annotator": "ann", "reason": " "}).content.decode()
    assert "for good?" in client.post(address, {"annotator": "ann", "reason": "Asked."}).content.decode()
    assert not Withdrawal.objects.exists()
    reply = client.post(address, {"annotator": "ann", "reason": "Asked.", "sure": "1"})
    assert reply.status_code == 302
    assert (Withdrawal.objects.get().reason, Withdrawal.objects.get().annotator.username) == ("Asked.", "ann")
    assert "Asked." in client.get(address).content.decode()
    assert client.get(address, {"annotator": "nobody"}).status_code == 422


def test_the_api_and_the_command_withdraw_and_can_only_tell(client):
    project = judged(1, 2)
    address = f"/api/v1/projects/{project.slug}/withdrawals/"
    client.force_login(factories.member(project, "manager"))
    body = {"annotator": "ann", "reason": "Asked."}
    told = client.post(address + "?dry_run=1", body, content_type="application/json").json()
    assert told["judgements"] == 2 and not Withdrawal.objects.exists()
    made = client.post(address, body, content_type="application/json")
    assert (made.status_code, made.json()["annotator"]) == (201, "ann")
    assert client.post(address, body, content_type="application/json").status_code == 400
    assert client.post(address, {"reason": "x"}, content_type="application/json").status_code == 400
    assert [row["reason"] for row in client.get(address).json()["results"]] == ["Asked."]
    out, task = io.StringIO(), project.tasks.first()
    words = ("withdraw", project.slug, "--task", str(task.pk), "--reason", "Personal.")
    call_command(*words, "--dry-run", stdout=out)
    assert "2 judgements" in out.getvalue() and Withdrawal.objects.count() == 1
    call_command(*words, "--yes", stdout=out)
    assert Withdrawal.objects.count() == 2
    with pytest.raises(CommandError, match="no account nobody"):
        call_command("withdraw", project.slug, "--annotator", "nobody", "--reason", "x", stdout=out)


def test_two_snapshots_tell_what_changed_and_why(client):
    project = judged(1, 2, 3)
    import_records(project, records(4, annotations=[{"annotator": "ann", "choice": "tie"}]))
    first = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    import_records(project, records(5))
    changed = project.annotations.filter(task__external_id="1", annotator__username="ben").get()
    winner = changed.task.responses.get(position=1).pk
    Annotation.objects.filter(task__external_id="1").update(body={"choice": winner, "strength": 1})
    Annotation.objects.filter(pk=changed.pk).update(status="undone")
    factories.member(project, username="cat")
    recipe = {"ties": "half", "min_agreement": 0.5, "exclude_annotators": ["cat"], **ALL_TRAIN}
    second = snapshots.cut(project, name="prefs", type="preference", recipe=recipe)
    told = differences.compare(first, second)
    assert (told["same"], told["removed"]["rows"]) == (2, 0)
    assert told["added"]["why"] == {"was left out: tie": 2, "judged since": 1}
    assert told["changed"]["why"] == {"its judgements changed": 1}
    assert told["changed"]["examples"][0]["row"]["chosen"][0]["content"] == "y"
    assert told["recipe"]["ties"] == ["drop", "half"]
    back = differences.compare(second, first)
    assert back["removed"]["why"] == {"left out: tie": 2, "no longer selected": 1}
    client.force_login(factories.member(project, "trainer"))
    assert client.get(f"/api/v1/snapshots/{second.pk}/diff/{first.pk}/").json() == told
    page = client.get(f"{second.get_absolute_url()}against/{first.pk}/").content.decode()
    assert "Was left out: tie" in page and "2 was left out: tie, 1 judged since" in page
    assert "</del> cat</dd>" in page and "&#x27;" not in page  # the recipe in words
    recipe = {"exclude_annotators": ["ann", "ben"], **ALL_TRAIN}
    import_records(project, records(6, annotations=[{"annotator": "dan", "choice": "a"}]))
    third = snapshots.cut(project, name="prefs", type="preference", recipe=recipe)
    assert differences.compare(second, third)["removed"]["why"] == {"by judges whom the newer recipe excludes": 6}
    manager = factories.member(project, "manager")
    for name in ("ann", "ben"):
        withdrawing.withdraw(project, annotator=User.objects.get(username=name), by=manager, reason="Asked to.")
    fourth = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    assert differences.compare(second, fourth)["removed"]["why"] == {"withdrawn since": 6}
    assert "Against prefs v1" in client.get(second.get_absolute_url()).content.decode()


def test_large_snapshots_are_compared_once_by_the_worker(client, monkeypatch, django_capture_on_commit_callbacks):
    project = judged(1)
    first = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    import_records(project, records(2))
    second = snapshots.cut(project, name="prefs", type="preference", recipe=ALL_TRAIN)
    monkeypatch.setattr(comparing, "SMALL", 2)
    client.force_login(factories.member(project, "trainer"))
    page, api = f"{second.get_absolute_url()}against/{first.pk}/", f"/api/v1/snapshots/{second.pk}/diff/{first.pk}/"
    with django_capture_on_commit_callbacks() as asked:
        assert 'hx-trigger="load' in client.get(page).content.decode()
        assert client.get(api).status_code == 202
    assert len(asked) == 1  # whoever asks again waits for the same answer
    comparing.compare_later.call(first.pk, second.pk)
    monkeypatch.setattr(differences, "compare", None)
    assert client.get(api).json()["added"]["why"] == {"judged since": 1}
    assert "1 judged since" in client.get(page).content.decode()


def test_a_model_without_data_has_nothing_behind_it():
    base = Model.objects.create(name="base", role="policy", path="models/base")
    assert lineage.behind(base)["snapshots"] == []
