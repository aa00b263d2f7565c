import json

import pytest
from django.utils import timezone

from annotation.models import Role
from rlhf.models import Model, Run
from tests import factories
from tests.rlhf import rows
from tests.rlhf.page_rows import address, ended, fetched, live, share, write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


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
    made = {"name": "rm", "role": Model.Role.REWARD, "path": "models/x", "figures": {"ceiling": 0.66}}
    Model.objects.create(run=run, project=project, **made)
    client.force_login(factories.member(project, Role.READER))
    page = client.get(run.get_absolute_url()).content.decode()
    for words in (
        "who knew the true utility would reach 66.0%",
        "loses to the rule “shorter wins”",
        "Held-out accuracy",
        "57.5%",
        "112 too long",
        "<h2>Calibration</h2>",
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


@pytest.mark.parametrize(("state", "begins"), [("queued", "Goes on when a place is free"), ("starting", "Step 30")])
def test_a_run_that_waits_to_go_on_says_nothing_of_how_it_stopped(client, state, begins):
    project = factories.project()
    run = live(project)
    client.force_login(factories.member(project, Role.TRAINER))
    left = {"state": "cancelled", "phase": "saving", "step": 30, "total": 100, "eta_seconds": 70.0, "attempt": 2}
    write(run, "status.json", left)
    Run.objects.filter(pk=run.pk).update(state=Run.State.CANCELLED, started_at=timezone.now())
    client.post(address("resume_run", project, run.pk))
    Run.objects.filter(pk=run.pk, state="queued").update(state=state)
    page = client.get(run.get_absolute_url()).content.decode()
    assert "Step 30" in page and "of 100" in page and begins in page
    assert ("last started" in page) == (state == "queued")
    for contradicting in ("1 min 10 s left", "now: saving", "Attempt 2"):
        assert contradicting not in page, contradicting
    listed = client.get(address("runs", project, state="live")).content.decode()
    assert "30%" in listed and "left" not in listed.partition("<tbody>")[2].partition("</tbody>")[0]


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
