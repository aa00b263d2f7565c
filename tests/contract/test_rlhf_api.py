"""The loop over HTTP, as another program relies on it."""

import json

import pytest
from rest_framework.test import APIClient

from annotation import judging, queue
from rlhf import registry
from rlhf.models import Model, Round, Run, Snapshot
from tests import factories
from tests.rlhf import rows
from tests.rlhf.page_rows import deciding

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def client(user):
    made = APIClient()
    made.force_authenticate(user)
    return made


def post(user, path, body=None):
    return client(user).post(f"/api/v1/{path}", body or {}, format="json")


def get(user, path, **query):
    return client(user).get(f"/api/v1/{path}", query)


@pytest.fixture
def project():
    return factories.project()


@pytest.fixture
def trainer(project):
    return factories.member(project, "trainer")


def judged(project, count=6):
    for number in range(count):
        prompt = [{"role": "user", "content": f"Question {number}?"}]
        factories.task(project, [f"good {number}", f"bad {number}"], prompt=prompt)
    person = factories.member(project)
    while assignment := queue.lease_next(project, person):
        judging.submit(assignment.task, person, {"choice": "a", "strength": 1})


def a_problem(response, status, *fields):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["title"] and problem["type"]
    assert set(problem.get("errors", {})) == set(fields)
    return problem


def test_a_trainer_cuts_a_snapshot_and_reads_it_again(project, trainer):
    judged(project)
    recipe = {"split": {"by": "prompt", "eval_share": 0}}
    made = post(trainer, "snapshots/", {"project": project.slug, "name": "p", "type": "preference", "recipe": recipe})
    assert made.status_code == 201
    assert made.json()["counts"]["train"] == 6
    assert made["Location"] == f"/api/v1/snapshots/{made.json()['id']}/"
    assert get(trainer, f"snapshots/{made.json()['id']}/").json() == made.json()
    listed = get(trainer, "snapshots/", project=project.slug, type="preference").json()
    assert [row["id"] for row in listed["results"]] == [made.json()["id"]]


def test_a_bad_recipe_is_refused_by_its_key(project, trainer):
    body = {"project": project.slug, "name": "p", "type": "preference", "recipe": {"colour": 1}}
    a_problem(post(trainer, "snapshots/", body), 400, "colour")
    a_problem(post(trainer, "snapshots/", {"project": project.slug}), 400, "name", "type")


def test_a_run_is_queued_cancelled_and_resumed(project, trainer):
    base, snapshot = rows.model(), rows.snapshot(project)
    body = {"project": project.slug, "kind": "dpo", "start_model": base.name, "snapshot": snapshot.pk}
    made = post(trainer, "runs/", body | {"params": {"beta": 0.2}})
    assert made.status_code == 201
    run = made.json()
    assert (run["state"], run["config"]["params"]["beta"], run["start_model"]) == ("queued", 0.2, base.name)
    assert post(trainer, f"runs/{run['id']}/cancel/").json()["state"] == "cancelled"
    a_problem(post(trainer, f"runs/{run['id']}/cancel/"), 409)
    assert post(trainer, f"runs/{run['id']}/resume/").json()["state"] == "queued"
    a_problem(post(trainer, f"runs/{run['id']}/resume/"), 409)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"params": {"betta": 1}}, "params.betta"),
        ({"params": {"trust_remote_code": True}}, "params.trust_remote_code"),
        ({"params": {"beta": "x"}}, "params.beta"),
        ({"start_model": "nobody"}, "start_model"),
        ({"snapshot": 999_999}, "snapshot"),
        ({"kind": "magic"}, "kind"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_run_is_refused_by_its_key(project, trainer, change, field):
    body = {"project": project.slug, "kind": "dpo", "start_model": rows.model().name}
    a_problem(post(trainer, "runs/", body | {"snapshot": rows.snapshot(project).pk} | change), 400, field)
    assert not Run.objects.exists()


def test_a_snapshot_is_given_by_its_id_or_by_its_name_in_the_project(project, trainer):
    other = factories.project()
    theirs = rows.snapshot(other)
    Snapshot.objects.filter(pk=theirs.pk).update(name="prefs")
    first, second = rows.snapshot(project), rows.snapshot(project)
    Snapshot.objects.filter(pk=first.pk).update(name="prefs")
    Snapshot.objects.filter(pk=second.pk).update(name="prefs", version=2)
    body = {"project": project.slug, "kind": "dpo", "start_model": rows.model().name}
    for named, found in (("prefs", second), ("prefs@1", first), (first.pk, first), (str(first.pk), first)):
        assert post(trainer, "runs/", body | {"snapshot": named}).json()["snapshot"] == found.pk
    for wrong in ("nobody", "prefs@3", "prefs@x", theirs.pk):
        told = a_problem(post(trainer, "runs/", body | {"snapshot": wrong}), 400, "snapshot")
        assert f"no snapshot {wrong}" in told["errors"]["snapshot"][0]
    for wrong in ([], {}, True, 1.5):
        told = a_problem(post(trainer, "runs/", body | {"snapshot": wrong}), 400, "snapshot")
        assert "its id, or its name" in told["errors"]["snapshot"][0]


def test_a_model_is_given_by_its_name_and_not_by_a_path(project, trainer):
    answer = post(trainer, "runs/", {"project": project.slug, "kind": "dpo", "start_model": "/etc"})
    assert "no model named /etc that you may see" in a_problem(answer, 400, "start_model")["errors"]["start_model"][0]


def test_metrics_after_a_step_leave_out_a_half_written_line(project, trainer):
    run = rows.run(project)
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in (1, 2, 3)] + ['{"step": 4, "lo']
    (run.folder / "metrics.jsonl").write_text("\n".join(lines))
    answer = get(trainer, f"runs/{run.pk}/metrics/", after=1).json()
    assert answer == {"state": "queued", "metrics": [{"step": 2, "loss": 0.5}, {"step": 3, "loss": 1 / 3}]}
    a_problem(get(trainer, f"runs/{run.pk}/metrics/", after="x"), 400, "after")


def test_the_log_and_the_samples_come_in_pages_without_a_half_written_line(project, trainer):
    run = rows.run(project)
    (run.folder / "log.txt").write_text("".join(f"12:00:00 info step {n}\n" for n in range(250)) + "12:00:01 in")
    first = get(trainer, f"runs/{run.pk}/log/").json()
    assert (first["state"], first["next"], first["more"], len(first["lines"])) == ("queued", 200, True, 200)
    rest = get(trainer, f"runs/{run.pk}/log/", after=first["next"]).json()
    assert (rest["next"], rest["more"], rest["lines"][-1]) == (250, False, "12:00:00 info step 249")
    assert get(trainer, f"runs/{run.pk}/log/", after=250).json()["lines"] == []
    shown = [{"step": step, "prompt": [], "after": "Yes."} for step in (1, 2)]
    lines = [json.dumps(row) for row in shown]
    (run.folder / "samples.jsonl").write_text("\n".join([lines[0], "not json", lines[1], '{"step": 3']))
    answer = get(trainer, f"runs/{run.pk}/samples/").json()
    assert answer == {
        "state": "queued",
        "next": 3,
        "more": False,
        "samples": [{"line": 1, **shown[0]}, {"line": 3, **shown[1]}],
    }
    assert get(trainer, f"runs/{run.pk}/samples/", after=1, limit=1).json()["samples"] == []
    assert get(trainer, f"runs/{rows.run(project).pk}/samples/").json()["samples"] == []
    for query in ({"after": "x"}, {"after": -1}, {"limit": 201}):
        a_problem(get(trainer, f"runs/{run.pk}/log/", **query), 400, *query)


def test_a_prompt_list_makes_a_generate_run(project, trainer):
    body = {"project": project.slug, "kind": "generate", "start_model": rows.model().name}
    made = post(trainer, "runs/", body | {"prompts": [{"prompt": "Hello?"}, {"prompt": "Hello?"}, {"prompt": "Bye?"}]})
    assert made.status_code == 201
    written = (Run.objects.get().folder / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line)["prompt"][0]["content"] for line in written] == ["Hello?", "Bye?"]
    a_problem(post(trainer, "runs/", body | {"prompts": [{"prompt": 3}]}), 400, "prompts.0")
    assert post(trainer, "runs/", body | {"prompts": ["Hello?", {"prompt": "Bye?"}]}).status_code == 201
    written = (Run.objects.first().folder / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in written] == ["1", "2"]
    told = a_problem(post(trainer, "runs/", body | {"prompts": ["Hi", 7]}), 400, "prompts.1")
    assert told["errors"]["prompts.1"] == ["Must be a text, or an object with prompt and, if you like, id."]


def test_a_round_is_started_and_refused_by_the_key_of_its_plan(project, trainer):
    prompts = [{"prompt": f"Question {number}?"} for number in range(9)]
    body = {"project": project.slug, "start_model": rows.model().name, "prompts": prompts}
    a_problem(post(trainer, "rounds/", body | {"plan": {"prompts": 0}}), 400, "prompts")
    made = post(trainer, "rounds/", body | {"plan": {"prompts": 4, "eval_prompts": 2}})
    assert made.status_code == 201
    assert (made.json()["state"], made.json()["number"]) == ("generate", 1)
    told = get(trainer, f"rounds/{made.json()['id']}/").json()
    assert told["plan"]["eval_prompts"] == 2 and told["gate"] == {}
    assert told["progress"]["label"] == {"done": 0, "wanted": 0, "tasks": 0}
    a_problem(post(trainer, f"rounds/{made.json()['id']}/reject/"), 409)
    a_problem(post(trainer, f"rounds/{made.json()['id']}/finish-step/"), 409)
    assert made.json()["base_model"] == body["start_model"]
    other = {"project": factories.project().slug}
    a_problem(post(factories.admin(), "rounds/", body | other | {"prompts": []}), 400, "eval_prompts")


def test_a_round_that_waits_for_the_decision_tells_its_gate_and_is_decided(project, trainer):
    round, model = deciding(project)
    told = get(trainer, f"rounds/{round.pk}/").json()
    met = {row["name"]: (row["limit"], row["met"]) for row in told["gate"][model.name]}
    assert met == {"win_rate_low": (0.5, True), "kl_max": (15.0, True)}
    assert set(told["progress"]) == {"label", "compare"}
    a_problem(post(trainer, f"rounds/{round.pk}/promote/", {"model": round.start_model.name}), 400, "model")
    promoted = post(trainer, f"rounds/{round.pk}/promote/", {"model": model.name}).json()
    assert (promoted["state"], promoted["promoted_model"], promoted["gate"]) == ("promoted", model.name, {})


def test_an_open_round_is_abandoned_with_a_reason_before_another_starts(project, trainer):
    prompts = [{"prompt": f"Question {number}?"} for number in range(9)]
    body = {"project": project.slug, "start_model": rows.model().name, "prompts": prompts}
    body["plan"] = {"prompts": 4, "eval_prompts": 2}
    made = post(trainer, "rounds/", body).json()
    assert "Round 1 is still open" in a_problem(post(trainer, "rounds/", body), 409)["title"]
    address = f"rounds/{made['id']}/abandon/"
    a_problem(post(trainer, address), 400, "reason")
    a_problem(post(factories.member(project, "reader"), address, {"reason": "x"}), 403)
    a_problem(post(factories.member(project, "annotator"), address, {"reason": "x"}), 404)
    ended = post(trainer, address, {"reason": "Wrong prompts."}).json()
    assert (ended["state"], ended["promoted_model"]) == ("abandoned", None)
    assert (ended["decision"]["reason"], ended["decision"]["step"]) == ("Wrong prompts.", "generate")
    a_problem(post(trainer, address, {"reason": "Again."}), 409)
    assert [row["id"] for row in get(trainer, "rounds/", state="abandoned").json()["results"]] == [made["id"]]
    Round.objects.update(state="rejected")
    following = post(trainer, "rounds/", body | {"plan": {"prompts": 3}}).json()
    assert (following["number"], following["plan"]["prompts"], following["plan"]["eval_prompts"]) == (2, 3, 2)
    post(trainer, f"rounds/{following['id']}/abandon/", {"reason": "Too few prompts."})
    del body["plan"]
    assert post(trainer, "rounds/", body).json()["plan"]["prompts"] == 4  # a plan given up is no example


def test_promoting_a_model_replaces_the_former_one(project, trainer):
    first, second = rows.model(project=project), rows.model(project=project)
    registry.promote(first, by=None)
    a_problem(post(trainer, f"models/{second.name}/promote/"), 400, "reason")  # no round's gate was asked
    answer = post(trainer, f"models/{second.name}/promote/", {"reason": "Better."})
    assert answer.json()["state"] == "promoted"
    assert answer.json()["decision"]["by"] == trainer.username
    assert get(trainer, f"models/{first.name}/").json()["state"] == "replaced"
    a_problem(post(trainer, f"models/{rows.model().name}/promote/"), 400, "model")


def test_only_an_admin_registers_a_folder(project, trainer, tmp_path):
    folder = rows.weights(tmp_path / "weights")
    body = {"name": "mine", "folder": str(folder)}
    a_problem(post(trainer, "models/", body), 403)
    assert post(factories.admin(), "models/", body).json()["path"] == "models/mine"
    a_problem(post(factories.admin("root"), "models/", body | {"name": "x", "folder": "/nowhere"}), 400, "folder")


@pytest.mark.parametrize("role", [None, "annotator"])
def test_strangers_and_annotators_see_nothing(project, role):
    person = factories.member(project, role) if role else factories.user()
    snapshot, run, model = rows.snapshot(project), rows.run(project), rows.model(project=project)
    for path in ("snapshots/", "runs/", "models/", "rounds/"):
        assert get(person, path).json()["results"] == []
    for path in (f"snapshots/{snapshot.pk}/", f"runs/{run.pk}/", f"runs/{run.pk}/metrics/", f"models/{model.name}/"):
        a_problem(get(person, path), 404)
    for path in ("log", "samples"):
        a_problem(get(person, f"runs/{run.pk}/{path}/"), 404)
    for path in (f"runs/{run.pk}/cancel/", f"runs/{run.pk}/resume/", f"models/{model.name}/promote/"):
        a_problem(post(person, path), 404)


def test_a_reader_looks_and_changes_nothing(project):
    reader = factories.member(project, "reader")
    snapshot, run, model = rows.snapshot(project), rows.run(project), rows.model(project=project)
    assert get(reader, f"snapshots/{snapshot.pk}/").status_code == 200
    assert get(reader, f"runs/{run.pk}/").status_code == 200
    a_problem(post(reader, f"runs/{run.pk}/cancel/"), 403)
    a_problem(post(reader, f"models/{model.name}/promote/"), 403)
    body = {"project": project.slug, "name": "p", "type": "preference"}
    a_problem(post(reader, "snapshots/", body), 403)
    assert not Snapshot.objects.filter(name="p").exists()


def test_another_projects_models_and_snapshots_cannot_be_used(project, trainer):
    other = factories.project()
    theirs = {"start_model": rows.model(project=other).name, "snapshot": rows.snapshot(other).pk}
    a_problem(post(trainer, "runs/", {"project": project.slug, "kind": "dpo"} | theirs), 400, "start_model", "snapshot")
    mine = {"start_model": rows.model().name, "snapshot": rows.snapshot(project).pk}
    a_problem(post(trainer, "runs/", {"project": other.slug, "kind": "dpo"} | mine), 404)
    assert not Run.objects.exists()


def test_lists_are_paginated(project, trainer):
    for _ in range(3):
        rows.model(project=project)
    first = get(trainer, "models/", limit=2).json()
    assert len(first["results"]) == 2 and first["next"]
    a_problem(get(trainer, "models/", limit=201), 400, "limit")
    assert len(get(trainer, "models/", role="reward").json()["results"]) == 0
    a_problem(get(trainer, "models/", role="king"), 400, "role")
    assert Model.objects.count() == 3
