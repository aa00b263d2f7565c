import io
import json
import re
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotation.models import Annotation, Membership, Role
from rlhf import rounds, snapshots, worker
from rlhf.models import Model, Round, Run
from rlhf.run_charts import charts_of
from tests import factories
from tests.rlhf import rows
from training import runfile

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]

READERS = (Role.READER, Role.REVIEWER, Role.TRAINER, Role.MANAGER)


def address(name, project, *args, **query):
    return reverse(f"rlhf:{name}", args=[project.slug, *args]) + (
        "?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else ""
    )


def fetched(client, url):
    """The bytes of a file that is sent in pieces; the client closes its handle behind the last one."""
    answer = client.get(url)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


def judged(project, count=12, simulated=True):
    """Tasks that one rater judged, the first response always better."""
    person = factories.member(project)
    person.is_simulated = simulated
    person.save()
    for number in range(count):
        task = factories.task(project, prompt=[{"role": "user", "content": f"Question {number}?"}])
        first, _ = task.responses.order_by("position")
        body = {
            "choice": first.pk,
            "strength": 2,
            "aspects": {},
            "flags": ["unclear"] if number == 0 else [],
            "rationale": "",
        }
        Annotation.objects.create(project=project, task=task, annotator=person, kind="preference", body=body)


def write(run, name, value):
    text = "".join(json.dumps(row) + "\n" for row in value) if name.endswith("l") else json.dumps(value)
    (run.folder / name).write_text(text)


def live(project, kind="ppo", steps=30):
    """A run in the middle of its work, as its directory shows it."""
    reward = rows.model(role=Model.Role.REWARD, project=project) if kind == "ppo" else None
    run = rows.run(project, kind, **({"reward_model": reward, "params": {"kl_target": 2.0}} if kind == "ppo" else {}))
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING)
    run.refresh_from_db()
    metrics = [
        {"step": n, "reward": n / 10, "kl": n / 5, "policy_loss": 0.1, "value_loss": 0.2, "length": 40.0}
        for n in range(1, steps + 1)
    ]
    write(run, "metrics.jsonl", metrics)
    write(
        run,
        "status.json",
        {"state": "running", "phase": "train", "step": steps, "total": 100, "eta_seconds": 70.0, "heartbeat": 1.0},
    )
    (run.folder / "log.txt").write_text("12:00:00 info phase train\n12:00:01 warning kl is high\n")
    return run


def ended(project, state="succeeded", kind="reward", report=None, error=None):
    run = rows.run(project, kind)
    Run.objects.filter(pk=run.pk).update(state=state, error=error, step=10, total=10)
    if report:
        write(run, "report.json", report)
    return Run.objects.get(pk=run.pk)


def share(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 100}


def round_in(project, state, **fields):
    base, start = rows.model("desk-base"), rows.model("policy-0", project=project)
    plan = rounds.Plan().as_dict()
    return Round.objects.create(
        project=project, number=1, state=state, plan=plan, start_model=start, base_model=base, **fields
    )


def deciding(project):
    """A round whose one policy people prefer clearly."""
    round = round_in(project, Round.State.DECIDE)
    run = rows.run(project, "dpo", start_model=round.start_model, round=round, part="policy-0", name="dpo-r1")
    model = Model.objects.create(
        project=project,
        name="policy-1",
        role="policy",
        run=run,
        parent=round.start_model,
        path="models/x",
        sha256="1" * 64,
    )
    policies = {
        "policy-1": {"kl": 4.0, "preferred": share(0.7), "simulated_share": 1.0},
        "policy-0": {"kl": 0.1, "preferred": share(0.55)},
    }
    round.evaluation = {"compared": {name: {} for name in policies}, "policies": {**policies, "desk-base": {"kl": 0.0}}}
    round.save()
    return round, model


@pytest.mark.parametrize("role", READERS)
@pytest.mark.parametrize("page", ["loop", "datasets", "runs", "models"])
def test_whoever_reads_data_sees_the_pages(client, role, page):
    project = factories.project()
    client.force_login(factories.member(project, role))
    answer = client.get(address(page, project))
    assert answer.status_code == 200
    acts = role in (Role.TRAINER, Role.MANAGER)
    assert (b"/runs/new/" in answer.content) == (acts and page in ("loop", "runs", "models"))


@pytest.mark.parametrize("page", ["loop", "datasets", "runs", "models", "new_run", "new_snapshot", "new_round"])
def test_strangers_find_nothing_and_annotators_are_refused(client, page):
    project = factories.project()
    client.force_login(factories.user())
    assert client.get(address(page, project)).status_code == 404
    client.force_login(factories.member(project, Role.ANNOTATOR))
    assert client.get(address(page, project)).status_code == 403


def test_one_projects_rows_cannot_be_reached_through_another(client):
    project, other = factories.project(), factories.project()
    run, snapshot = rows.run(other), rows.snapshot(other)
    model = rows.model(project=other)
    client.force_login(factories.member(project, Role.MANAGER))
    assert client.get(address("run", project, run.pk)).status_code == 404
    assert client.get(address("run_live", project, run.pk)).status_code == 404
    assert client.get(address("snapshot", project, snapshot.pk)).status_code == 404
    assert client.get(model.get_absolute_url()).status_code == 404
    assert client.post(address("cancel_run", project, run.pk)).status_code == 404


@pytest.mark.parametrize("page", ["new_run", "new_snapshot", "new_round"])
def test_readers_cannot_act(client, page):
    project = factories.project()
    client.force_login(factories.member(project, Role.READER))
    assert client.post(address(page, project), {}).status_code == 403


def test_a_live_run_shows_progress_charts_concerns_and_log(client):
    project = factories.project()
    run = live(project)
    client.force_login(factories.member(project, Role.TRAINER))
    page = client.get(run.get_absolute_url()).content.decode()
    for words in (
        "Step 30",
        "of 100",
        "1 min 10 s left",
        "KL above target since step",
        "Copy with β",
        "12:00:01 warning kl is high",
        "Cancel run",
    ):
        assert words in page, words
    assert page.count('<svg role="img"') == 4 and "KL to the reference by step: rises" in page


def test_the_live_part_is_304_until_something_changes(client):
    project = factories.project()
    run = live(project)
    client.force_login(factories.member(project, Role.READER))
    url = address("run_live", project, run.pk)
    first = client.get(url, {"state": "running"})
    assert first.status_code == 200 and first["ETag"]
    again = client.get(url, {"state": "running"}, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    write(
        run,
        "status.json",
        {"state": "running", "phase": "train", "step": 30, "total": 100, "eta_seconds": 70.0, "heartbeat": 2.0},
    )
    assert (
        client.get(url, {"state": "running"}, headers={"If-None-Match": first["ETag"]}).status_code == 304
    )  # a heartbeat is no news
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 31, "reward": 3.0, "kl": 6.0}) + "\n")
    assert client.get(url, {"state": "running"}, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_the_live_part_stops_asking_when_the_run_has_ended(client):
    project = factories.project()
    run = live(project)
    client.force_login(factories.member(project, Role.READER))
    assert b"every 2s" in client.get(address("run_live", project, run.pk), {"state": "running"}).content
    Run.objects.filter(pk=run.pk).update(state=Run.State.SUCCEEDED)
    told = client.get(address("run_live", project, run.pk), {"state": "running"})
    assert told["HX-Refresh"] == "true"
    assert b"every 2s" not in client.get(run.get_absolute_url()).content


def test_a_chart_turns_into_its_table(client):
    project = factories.project()
    run = live(project)
    client.force_login(factories.member(project, Role.READER))
    page = client.get(run.get_absolute_url(), {"table": "kl"}).content.decode()
    assert 'aria-label="KL to reference, the data"' in page and page.count('<svg role="img"') == 3


def test_the_log_goes_on_where_it_was(client):
    project = factories.project()
    run = live(project)
    client.force_login(factories.member(project, Role.READER))
    url = address("run_log", project, run.pk)
    answer = client.get(url, {"after": 1}).content.decode()
    assert "kl is high" in answer and "phase train" not in answer and "after=2" in answer
    assert client.get(url, {"after": 2}).status_code == 204
    assert client.get(url, {"after": "x"}).status_code == 404


def test_only_the_files_of_the_contract_are_given_out(client):
    project = factories.project()
    run = live(project)
    (run.folder / "secret.txt").write_text("no")
    client.force_login(factories.member(project, Role.READER))
    assert fetched(client, address("run_file", project, run.pk, "log.txt")).startswith(b"12:00:00")
    assert client.get(address("run_file", project, run.pk, "secret.txt")).status_code == 404
    assert client.get(address("run_file", project, run.pk, "generations.jsonl")).status_code == 404


def test_a_failed_run_says_what_happened_what_is_safe_and_what_to_do(client):
    project = factories.project()
    error = {
        "code": "oom",
        "message": "Out of memory: 2 GB asked.",
        "hint": "Set params.batch_size to 8 (it is 16) and run again.",
    }
    run = ended(project, "failed", error=error)
    client.force_login(factories.member(project, Role.TRAINER))
    page = client.get(run.get_absolute_url()).content.decode()
    for words in (
        "Out of memory at step",
        "Out of memory: 2 GB asked.",
        "Set params.batch_size to 8",
        "Copy with batch size 8",
        "Resume",
    ):
        assert words in page, words
    copy = client.get(address("new_run", project), {"copy": run.pk, "set": "params.batch_size=8"}).content.decode()
    assert 'name="params.batch_size" value="8"' in copy


def test_a_reward_model_that_loses_to_length_is_told_so_on_its_page(client):
    project = factories.project()
    found = {"accuracy": share(0.53), "baseline_shorter": share(0.575), "baseline_longer": share(0.425), "ece": 0.03}
    found["calibration"] = [{"low": 0.5, "high": 1.0, "predicted": 0.6, "observed": 0.55, "n": 100}]
    account = {"train": {"read": 1812, "used": 1700, "truncated": 0, "dropped": {"too_long": 112}}}
    run = ended(
        project, report={"eval": found, "rows": account, "reload_check": {"ok": True, "rows": 4}, "warnings": []}
    )
    client.force_login(factories.member(project, Role.READER))
    page = client.get(run.get_absolute_url()).content.decode()
    for words in (
        "loses to the rule “shorter wins”",
        "Held-out accuracy",
        "57.5%",
        "112 too long",
        "Expected calibration error 0.030",
        "it scores 4 rows as before",
    ):
        assert words in page, words


@pytest.mark.parametrize("state", Run.State.values)
def test_every_state_of_a_run_has_its_page_and_its_row(client, state):
    project = factories.project()
    run = ended(
        project, state, error={"code": "crash", "message": "It broke.", "hint": ""} if state == "failed" else None
    )
    client.force_login(factories.member(project, Role.TRAINER))
    page = client.get(run.get_absolute_url()).content.decode()
    assert run.get_state_display() in page
    assert ("Cancel run" in page) == (state in ("queued", "starting", "running"))
    assert ("/resume/" in page) == (state in ("failed", "cancelled", "lost"))
    assert run.name in client.get(address("runs", project)).content.decode()


def test_cancel_and_resume_say_when_they_come_too_late(client):
    project = factories.project()
    client.force_login(factories.member(project, Role.TRAINER))
    queued = rows.run(project)
    client.post(address("cancel_run", project, queued.pk))
    queued.refresh_from_db()
    assert queued.state == Run.State.CANCELLED
    client.post(address("resume_run", project, queued.pk))
    queued.refresh_from_db()
    assert queued.state == Run.State.QUEUED
    done = ended(project)
    assert "has already ended" in client.post(address("cancel_run", project, done.pk), follow=True).content.decode()


def test_the_list_of_runs_is_narrowed_and_polled(client):
    project = factories.project()
    run, done = live(project), ended(project)
    client.force_login(factories.member(project, Role.READER))
    page = client.get(address("runs", project, state="live")).content.decode()
    assert run.name in page and f">{done.name}<" not in page and "every 5s" in page
    fragment = client.get(address("runs", project), headers={"HX-Target": "runs"})
    assert b"<html" not in fragment.content
    again = client.get(address("runs", project), headers={"HX-Target": "runs", "If-None-Match": fragment["ETag"]})
    assert again.status_code == 304
    assert b"every 5s" not in client.get(address("runs", project, state="succeeded")).content


def form_of(project, kind="reward", **changes):
    """What a browser would send for the form as it opens, with changes."""
    from rlhf.run_form import RunForm

    form = RunForm(project=project, kind=kind, adapter=changes.get("adapter", "lora"))
    sent = {
        field.html_name: field.value() for field in form if field.value() is not None and field.value() is not False
    }
    return sent | {"kind": kind, "adapter": "lora"} | changes


@pytest.fixture
def trainer(client):
    project = factories.project()
    client.force_login(factories.member(project, Role.TRAINER))
    rows.model("desk-base", project=project)
    return project


@pytest.mark.parametrize("kind", ["reward", "dpo"])
def test_the_form_as_it_opens_queues_a_run(client, trainer, kind):
    rows.snapshot(trainer)
    answer = client.post(address("new_run", trainer), form_of(trainer, kind))
    run = Run.objects.get()
    assert answer.status_code == 302 and answer["Location"] == run.get_absolute_url()
    assert (run.kind, run.state, run.config["adapter"]["method"]) == (kind, "queued", "lora")
    assert (run.folder / "run.json").is_file()


@pytest.mark.parametrize(
    ("kind", "adapter", "shape"),
    [
        ("kto", "dora", {"r": 16, "alpha": 32, "dropout": 0.0}),
        ("dpo", "prefix", {"virtual_tokens": 20}),
        ("reward", "houlsby", {"bottleneck": 64, "dropout": 0.0}),
        ("sft", "ia3", {}),
    ],
)
def test_every_adapter_that_a_method_takes_comes_out_of_the_form(client, trainer, kind, adapter, shape):
    rows.snapshot(trainer, {"kto": "binary", "sft": "sft"}.get(kind, "preference"))
    page = client.get(address("new_run", trainer, kind=kind, adapter=adapter)).content.decode()
    assert f'value="{adapter}" id="id_adapter_{adapter}" checked' in page
    answer = client.post(address("new_run", trainer), form_of(trainer, kind, adapter=adapter))
    assert answer.status_code == 302
    run = Run.objects.get()
    assert run.config["adapter"] == {"method": adapter} | shape
    assert run.config["params"]["learning_rate"] == runfile.defaults(kind, adapter)["learning_rate"]
    assert client.get(run.get_absolute_url()).status_code == 200


def test_a_rule_takes_the_place_of_the_reward_model(client, trainer):
    rows.snapshot(trainer)
    page = client.get(address("new_run", trainer, kind="grpo")).content.decode()
    assert "None: a rule scores" in page and "id_adapter_full" not in page and "id_adapter_dora" in page
    neither = client.post(address("new_run", trainer), form_of(trainer, "grpo"))
    assert neither.status_code == 422 and "params.rule is required" in neither.content.decode()
    sent = form_of(trainer, "rloo", **{"params.rule": "words:5-20", "params.samples": "4"})
    assert client.post(address("new_run", trainer), sent).status_code == 302
    run = Run.objects.get()
    assert run.reward_model is None and run.config["reference"] == "base"
    assert run.config["params"] | {"rule": "words:5-20", "samples": 4} == run.config["params"]


def test_a_loss_without_a_reference_names_none(client, trainer):
    rows.snapshot(trainer)
    client.post(address("new_run", trainer), form_of(trainer, "dpo", **{"params.loss": "simpo"}))
    assert "reference" not in Run.objects.get().config


@pytest.mark.parametrize("kind", ["kto", "grpo", "rloo"])
def test_the_new_methods_draw_what_they_log(kind):
    logged = {
        "kto": {"loss": 0.5, "kl": 0.1, "margin": 0.2, "chosen_reward": 0.1, "rejected_reward": -0.1, "rank": 4.0},
    }.get(kind, {"reward": 1.0, "kl": 0.1, "policy_loss": 0.0, "length": 9, "same_score": 0.25})
    rows_of_run = [{"step": step, **logged} for step in (1, 2, 3)]
    charts = {chart.key: chart for chart in charts_of(kind, rows_of_run, {})}
    wanted = {"loss", "implied", "margin", "kl", "rank"} if kind == "kto" else {"reward", "kl", "loss", "alike"}
    assert wanted <= set(charts) and all(chart.lines for chart in charts.values() if chart.key in wanted)


def test_full_fine_tuning_and_ppo_come_out_of_the_same_form(client, trainer):
    rows.snapshot(trainer)
    client.post(address("new_run", trainer), form_of(trainer, "reward", adapter="full"))
    assert Run.objects.get().config.get("adapter") is None
    rows.model("rm", project=trainer, role=Model.Role.REWARD)
    client.post(address("new_run", trainer), form_of(trainer, "ppo", **{"params.kl_target": "6", "name": "ppo-mine"}))
    run = Run.objects.get(name="ppo-mine")
    assert run.config["params"]["kl_target"] == 6.0 and run.reward_model.name == "rm"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"params.learning_rate": "fast"}, "Must be a number."),
        ({"params.batch_size": "0"}, "At least 1."),
        ({"params.label_smoothing": "0.9"}, "At most 0.49."),
        ({"params.loss": "robust"}, "Must be above zero for the robust loss."),
        ({"name": "two words"}, "letters, digits, hyphens"),
        ({"snapshot": "99999"}, "valid choice"),
    ],
)
def test_a_form_with_a_mistake_comes_back_with_it(client, trainer, changes, words):
    rows.snapshot(trainer)
    answer = client.post(address("new_run", trainer), form_of(trainer, "dpo", **changes))
    assert answer.status_code == 422 and not Run.objects.exists()
    assert words.lower() in answer.content.decode().lower()


def test_preflight_counts_estimates_and_lists_problems(client, trainer):
    judged(trainer)
    snapshots.cut(trainer, name="prefs", type="preference", recipe={"split": {"by": "prompt", "eval_share": 0.0}})
    good = client.post(address("preflight", trainer), form_of(trainer))
    page = good.content.decode()
    assert good.status_code == 200 and "11 train, 0 held out" in page and "The engine accepts these settings" in page
    bad = client.post(address("preflight", trainer), form_of(trainer, **{"params.epochs": "-1"}))
    assert bad.status_code == 422 and 'href="#id_params.epochs"' in bad.content.decode()
    assert not Run.objects.exists()


def test_a_method_without_its_inputs_says_what_is_missing(client, trainer):
    page = client.get(address("new_run", trainer, kind="ppo")).content.decode()
    assert "Train a reward model first" in page and "Cut a snapshot of the right type first" in page


def test_only_snapshots_that_the_method_can_read_are_offered(client, trainer):
    rows.snapshot(trainer, "preference")
    demos = rows.snapshot(trainer, "sft")
    page = client.get(address("new_run", trainer, kind="sft")).content.decode()
    assert f"{demos}, 0 rows" in page and page.count("<option value") >= 1
    assert "snapshot" in page and page.count(" rows</option>") == 1


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
    assert "11 pairs, 1 left out: 1 flagged" in preview and "100% of them are simulated" in preview
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
    assert b"content_hash" in fetched(client, address("snapshot_file", trainer, snapshot.pk, "manifest.json"))
    assert client.get(address("snapshot_file", trainer, snapshot.pk, "..")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eval_share": "1.5"}, "0.9"),
        ({"name": "two words"}, "slug"),
        ({"drop_flagged": "on", "min_agreement": "x"}, "number"),
        ({}, "No rows"),
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


@pytest.mark.parametrize("state", Round.State.values)
def test_the_loop_has_a_page_for_every_state_of_a_round(client, trainer, state):
    Model.objects.all().delete()
    round_in(trainer, state, decision={"by": "x", "reason": "Because."} if state in ("promoted", "rejected") else {})
    worker.beat()
    page = client.get(address("loop", trainer)).content.decode()
    assert page.count('class="stage ') == 8
    assert "Nothing moves" not in page
    assert ("every 10s" in page) == (state not in ("promoted", "rejected"))
    assert ('id="decision"' in page) == (state == "decide")


def test_the_loop_says_when_no_worker_is_there(client, trainer):
    Model.objects.all().delete()
    round_in(trainer, "generate")
    worker.heartbeat_file().unlink(missing_ok=True)
    assert "no worker is running" in client.get(address("loop", trainer)).content.decode()


def test_a_round_that_stopped_names_the_problem_and_offers_a_retry(client, trainer):
    Model.objects.all().delete()
    round = round_in(trainer, "reward", problem="rm-r1 did not finish. Out of memory.")
    worker.beat()
    page = client.get(address("loop", trainer)).content.decode()
    assert "round 1 has stopped" in page and "rm-r1 did not finish" in page
    assert address("retry_round", trainer, round.number) in page


def test_the_stages_are_304_until_something_changes(client, trainer):
    Model.objects.all().delete()
    round = round_in(trainer, "label")
    worker.beat()
    first = client.get(address("loop", trainer), headers={"HX-Target": "stages"})
    assert b"<html" not in first.content
    same = {"HX-Target": "stages", "If-None-Match": first["ETag"]}
    assert client.get(address("loop", trainer), headers=same).status_code == 304
    Round.objects.filter(pk=round.pk).update(state="reward")
    assert client.get(address("loop", trainer), headers=same).status_code == 200


def test_a_decision_needs_a_reason_and_then_promotes(client, trainer):
    Model.objects.all().delete()
    round, model = deciding(trainer)
    url = address("decide", trainer, round.number)
    page = client.get(address("loop", trainer)).content.decode()
    assert "Promote policy-1" in page and "keep policy-0" in page and "Met" in page
    refused = client.post(url, {"promote": "policy-1", "reason": " "})
    assert refused.status_code == 422 and "Give the reason" in refused.content.decode()
    assert client.post(url, {"promote": "desk-base", "reason": "No."}).status_code == 422
    assert client.post(url, {"promote": "policy-1", "reason": "Preferred clearly."}).status_code == 302
    round.refresh_from_db()
    model.refresh_from_db()
    assert (round.state, model.state, model.decision["reason"]) == ("promoted", "promoted", "Preferred clearly.")
    late = client.post(url, {"promote": "", "reason": "Too late."}, follow=True)
    assert "does not wait for a decision" in late.content.decode()


def test_rejecting_keeps_the_promoted_policy(client, trainer):
    Model.objects.all().delete()
    round, model = deciding(trainer)
    client.post(address("decide", trainer, round.number), {"promote": "", "reason": "Answers got rude."})
    round.refresh_from_db()
    model.refresh_from_db()
    assert (round.state, model.state) == ("rejected", "rejected")


def test_win_rates_are_drawn_with_their_intervals_and_marked_as_simulated(client, trainer):
    Model.objects.all().delete()
    deciding(trainer)
    page = client.get(address("loop", trainer)).content.decode()
    assert "70.0 percent, 65.0 to 75.0" in page and "All judgments are simulated" in page
    assert "best is policy-1: 70.0% at KL 4.00" in page


def round_form(**changes):
    base = Model.objects.get()
    form = {"start_model": base.pk, "base_model": base.pk, "prompts": 4, "responses_per_prompt": 2, "eval_prompts": 2}
    return form | {"eval_overlap": 1, "methods": ["dpo", "ppo"], "win_rate_low": 0.5, "kl_max": 15} | changes


def prompts_file(*lines):
    return SimpleUploadedFile("prompts.jsonl", "\n".join(lines).encode())


def test_a_round_is_started_from_a_file_of_prompts(client, trainer):
    page = client.get(address("new_round", trainer))
    assert page.status_code == 200 and b"multipart/form-data" in page.content
    assert client.post(address("new_round", trainer), round_form(methods=[])).status_code == 422
    sent = prompts_file(*[json.dumps({"id": str(n), "prompt": f"Question {n}?"}) for n in range(8)])
    assert client.post(address("new_round", trainer), round_form(prompts_file=sent)).status_code == 302
    round = Round.objects.get()
    assert (round.state, round.plan["prompts"], round.plan["gate"]["kl_max"]) == ("generate", 4, 15.0)
    assert len((round.folder / "eval_prompts.jsonl").read_text().splitlines()) == 2


def test_a_round_is_started_from_the_prompts_of_another_project(client, trainer):
    other = factories.project(kind="demonstration")
    Membership.objects.create(project=other, user=trainer.memberships.get().user, role=Role.READER)
    for number in range(8):
        factories.task(other, prompt=[{"role": "user", "content": f"Question {number}?"}])
    assert client.post(address("new_round", trainer), round_form(prompts_project=other.pk)).status_code == 302
    stranger = factories.project()
    refused = client.post(address("new_round", trainer), round_form(prompts_project=stranger.pk))
    assert refused.status_code == 422


def test_a_bad_line_in_the_file_of_prompts_is_named(client, trainer):
    sent = prompts_file('"Fine?"', '{"prompt": 7}')
    answer = client.post(address("new_round", trainer), round_form(prompts_file=sent))
    assert answer.status_code == 422 and "Line 2" in answer.content.decode()


def test_a_round_without_prompts_is_refused_in_words(client, trainer):
    answer = client.post(address("new_round", trainer), round_form())
    assert answer.status_code == 422 and "No prompt is left for evaluation" in answer.content.decode()


def test_the_leaderboard_ranks_by_people_and_shows_utility_beside_reward(client, trainer):
    def policy(name, preferred, reward, utility):
        figures = {"preferred": share(preferred), "reward": reward, "utility": share(utility), "kl": 3.0, "length": 40}
        Model.objects.create(
            project=trainer, name=name, role="policy", path="models/x", sha256="1" * 64, figures=figures
        )

    policy("good", 0.7, 1.0, 0.8)
    policy("gamed", 0.55, 2.0, 0.1)
    page = client.get(address("models", trainer)).content.decode()
    assert page.index(">good<") < page.index(">gamed<")
    assert "They part: the reward model puts gamed first, true utility good" in page
    assert "Not compared yet" in page or "Others are compared with a base" in page


def test_a_model_tells_where_it_comes_from_and_how_to_load_it(client, trainer):
    judged(trainer)
    snapshot = snapshots.cut(trainer, name="prefs", type="preference")
    base = Model.objects.get()
    run = rows.run(trainer, "reward", start_model=base, snapshot=snapshot)
    figures = {"training": {"accuracy": share(0.7), "baseline_shorter": share(0.5), "baseline_longer": share(0.5)}}
    model = Model.objects.create(
        project=trainer,
        name="rm-1",
        role="reward",
        is_adapter=True,
        parent=base,
        run=run,
        path=base.path,
        sha256="1" * 64,
        figures=figures,
    )
    page = client.get(model.get_absolute_url()).content.decode()
    for words in (
        "11 judgments by 1 annotator",
        "All judgments are simulated",
        "prefs v1",
        run.name,
        "PeftModel.from_pretrained",
        "70.0%",
        "config.json",
    ):
        assert words in page, words
    assert b"architectures" in fetched(client, reverse("rlhf:model_file", args=["rm-1", "config.json"]))
    assert client.get(reverse("rlhf:model_file", args=["rm-1", ".."])).status_code == 404


def test_no_page_of_the_loop_carries_an_inline_style_or_script(client, trainer):
    Model.objects.all().delete()
    deciding(trainer)
    run = live(trainer)
    for url in (
        address("loop", trainer),
        run.get_absolute_url(),
        address("new_run", trainer),
        address("models", trainer),
    ):
        page = client.get(url).content.decode()
        assert " style=" not in page and "<style" not in page and " onclick=" not in page
