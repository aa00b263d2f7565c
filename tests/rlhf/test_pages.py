import pytest
from django.urls import reverse

from annotation.models import Role
from rlhf import snapshots
from rlhf.models import Model
from tests import factories
from tests.rlhf import rows
from tests.rlhf.page_rows import address, deciding, fetched, judged, live, share

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


READERS = (Role.READER, Role.REVIEWER, Role.TRAINER, Role.MANAGER)


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
    assert client.get(reverse("rlhf:model_file", args=["rm-1", "../rm-1/config.json"])).status_code == 404


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
