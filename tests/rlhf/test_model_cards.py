import pytest

from rlhf import registry
from rlhf.views.models import _files, _snippet
from tests import factories
from tests.rlhf import rows
from training import rundir

pytestmark = pytest.mark.django_db

OK = {"reload_check": {"ok": True, "rows": 4, "max_abs_diff": 0.0}}


def trained(run, **eval):
    folder = rows.adapter(run.folder / "model")
    (folder / "README.md").write_text("[More Information Needed]")
    rundir.RunDir(run.folder).write_report(OK | {"eval": eval})
    return registry.register_run(run)


def test_a_card_names_the_run_the_judgements_and_the_figures(data_folder):
    run = rows.run(factories.project(), "reward", name="rm-7")
    model = trained(run, accuracy={"value": 0.81, "low": 0.77, "high": 0.84, "n": 585}, ece=0.04)
    card = (model.folder / "README.md").read_text()
    assert "# rm-7" in card and run.start_model.sha256 in card and run.snapshot.content_hash in card
    assert "- Accuracy: 0.810 [0.770, 0.840], n 585" in card and "- Ece: 0.04" in card
    assert "simulated" not in card and "More Information" not in card and str(data_folder) not in card


def test_a_card_says_when_simulated_people_judged_however_far_behind(data_folder):
    project = factories.project()
    reward = rows.run(project, "reward")
    reward.snapshot.simulated_share = 1.0
    reward.snapshot.save()
    policy = rows.run(project, "ppo", start_model=rows.model(), reward_model=trained(reward))
    card = (trained(policy).folder / "README.md").read_text()
    assert "All of the judgements behind it were made by simulated raters" in card and "- synthetic" in card


def test_a_card_of_an_ensemble_that_rates_aspects_is_written_and_its_page_asks_for_every_output(data_folder):
    aspect = {"squared_error": 0.5, "of_the_mean": 1.25, "correlation": 0.8, "n": 12}
    doubt = {"members": 2, "split": 0.25, "sure": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 75}}
    model = trained(rows.run(factories.project(), "reward"), aspects={"kind": aspect}, ensemble=doubt, loss=0.5)
    assert "- Loss: 0.5" in (model.folder / "README.md").read_text()
    assert "num_labels=1)" in _snippet(model)
    (model.folder / "hone.json").write_text('{"heads": {"members": 2, "weights": [0.5, 0.5]}}')
    assert "num_labels=4)" in _snippet(model)
    (model.folder / "hone.json").write_text('{"heads": {"members": 2, "weights": [0.5, 0.5], "apart": true}}')
    rows.adapter(model.folder / "member-2")
    assert "num_labels=2)" in _snippet(model)
    assert f'model.load_adapter("{model.path}/member-2", "member-2")' in _snippet(model)
    assert "member-2/adapter_model.safetensors" in [file["name"] for file in _files(model)]
