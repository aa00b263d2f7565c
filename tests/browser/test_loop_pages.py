"""The loop's pages in a real browser: what moves by itself, and what the keyboard does."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from annotation.models import Project, Role, User
from rlhf.models import Model, Run
from tests import factories
from tests.browser.conftest import Open
from tests.rlhf import rows
from tests.rlhf.page_rows import round_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_folder")]


@pytest.fixture
def trainer() -> tuple[Project, User]:
    project = factories.project()
    rows.model("desk-base", project=project)
    return project, factories.member(project, Role.MANAGER)


def metrics(run: Run, steps: int) -> None:
    named: list[dict[str, Any]] = [
        {"step": n, "reward": n / 10, "kl": n / 8, "policy_loss": 0.1, "value_loss": 0.3, "length": 40.0 + n}
        for n in range(1, steps + 1)
    ]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    status = {"state": "running", "phase": "train", "step": steps, "total": 100, "eta_seconds": 60.0, "heartbeat": 1.0}
    (run.folder / "status.json").write_text(json.dumps(status))
    (run.folder / "log.txt").write_text("".join(f"12:00:00 info step {n}\n" for n in range(1, steps + 1)))


def live(project: Project) -> Run:
    reward = rows.model("rm", project=project, role=Model.Role.REWARD)
    run = rows.run(project, "ppo", reward_model=reward, name="ppo-live", params={"kl_target": 3.0})
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING)
    metrics(run, 40)
    return Run.objects.get(pk=run.pk)


def test_a_live_run_draws_itself_anew_and_keeps_what_the_reader_chose(
    open_page: Open, trainer: tuple[Project, User]
) -> None:
    project, person = trainer
    run = live(project)
    page = open_page(person, run.get_absolute_url())
    expect(page.locator("#live")).to_contain_text("Step 40")
    page.get_by_role("link", name="Reward: show as table").click()
    expect(page.get_by_role("group", name="Reward, the data")).to_be_visible()
    metrics(run, 60)
    expect(page.locator("#live")).to_contain_text("Step 60")
    expect(page.get_by_role("group", name="Reward, the data")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("step 60")
    expect(page.locator("#run-said")).to_have_text("60% done")
    Run.objects.filter(pk=run.pk).update(state=Run.State.CANCELLED)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.locator("#live[hx-get]")).to_have_count(0)


def test_nothing_is_drawn_again_while_nothing_changes(open_page: Open, trainer: tuple[Project, User]) -> None:
    project, person = trainer
    run = live(project)
    page = open_page(person, run.get_absolute_url())
    page.locator("#live").evaluate("node => { node.dataset.mine = 'yes' }")
    with page.expect_response(lambda answer: "/live/" in answer.url) as answered:
        pass
    assert answered.value.status == 304
    expect(page.locator("#live[data-mine=yes]")).to_have_count(1)


def test_canceling_asks_first_and_names_what_is_kept(open_page: Open, trainer: tuple[Project, User]) -> None:
    project, person = trainer
    run = rows.run(project, "reward")
    page = open_page(person, run.get_absolute_url())
    page.get_by_role("button", name="Cancel run").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("nothing is lost")
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("h1")).to_contain_text("Cancelled")
    run.refresh_from_db()
    assert run.state == Run.State.CANCELLED


def test_a_round_is_abandoned_with_a_reason_and_the_next_can_start(
    open_page: Open, trainer: tuple[Project, User]
) -> None:
    project, person = trainer
    round_in(project, "label")
    page = open_page(person, f"/projects/{project.slug}/loop/")
    expect(page.get_by_role("link", name="Start round")).to_have_count(0)
    page.get_by_role("button", name="Abandon round").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("no policy is promoted")
    dialog.get_by_label("Reason").fill("The answers repeat themselves.")
    dialog.get_by_role("button", name="Abandon the round").click()
    expect(page.locator("main").get_by_text("Round 1 was abandoned: no policy was promoted")).to_be_visible()
    expect(page.get_by_text("The answers repeat themselves.").first).to_be_visible()
    page.get_by_role("link", name="Start round 2").first.click()
    expect(page.get_by_label("Start from")).to_be_visible()


def test_the_form_follows_the_method_and_says_what_to_change(open_page: Open, trainer: tuple[Project, User]) -> None:
    project, person = trainer
    rows.snapshot(project)
    rows.model("rm", project=project, role=Model.Role.REWARD)
    page = open_page(person, f"/projects/{project.slug}/runs/new/?kind=dpo")
    page.get_by_text("Reward model and rollouts").click()
    expect(page.get_by_label("KL target, nats")).to_be_visible()
    page.get_by_text("Preferences, no reward model").click()
    beta = page.get_by_label("Beta")
    beta.fill("0")
    beta.press("Tab")
    expect(page.locator("#preflight")).to_contain_text("At least 0.0001.")
    beta.fill("0.3")
    beta.press("Tab")
    expect(page.locator("#preflight")).to_contain_text("The engine accepts these settings")
    beta.press("Control+Enter")
    expect(page.locator("h1")).to_contain_text("dpo-1")
    assert Run.objects.get(kind="dpo").config["params"]["beta"] == 0.3


def test_a_snapshot_is_counted_while_its_recipe_is_typed(open_page: Open, trainer: tuple[Project, User]) -> None:
    project, person = trainer
    page = open_page(person, f"/projects/{project.slug}/datasets/new/")
    expect(page.locator("#cut-preview")).to_contain_text("0 pairs")
    page.get_by_label("Held out", exact=True).fill("2")
    expect(page.locator("#cut-preview")).to_contain_text("0.9")
    expect(page.get_by_role("button", name="Freeze it")).to_be_disabled()
