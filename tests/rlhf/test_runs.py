import json

import pytest

from rlhf import runs
from rlhf.models import Run
from tests import factories
from tests.rlhf import rows
from training.runfile import RunFileError

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def test_a_run_is_queued_with_everything_it_depends_on_written_down():
    project, base = factories.project(), rows.model()
    snapshot = rows.snapshot(project)
    run = runs.create(project, "dpo", start_model=base, snapshot=snapshot, params={"beta": 0.2}, seed=3)
    written = json.loads((run.folder / "run.json").read_text())
    assert run.state == Run.State.QUEUED
    assert written == run.config
    assert written["base_model"] == {"path": base.path, "sha256": base.sha256}
    assert written["snapshot"] == {"path": snapshot.path, "hash": snapshot.content_hash}
    assert (written["reference"], written["seed"], written["params"]["beta"]) == ("base", 3, 0.2)
    assert written["params"]["learning_rate"] > 0  # defaults travel too
    assert written["adapter"]["method"] == "lora"


def test_a_policy_that_starts_as_an_adapter_is_its_own_reference_and_keeps_its_shape():
    project, base = factories.project(), rows.model()
    sft = rows.model(parent=base)
    run = rows.run(project, "dpo", start_model=sft)
    assert run.config["base_model"]["path"] == base.path
    assert run.config["start_adapter"]["path"] == sft.path
    assert run.config["reference"] == "start_adapter"
    shape = {key: run.config["adapter"][key] for key in ("r", "alpha", "targets")}
    assert shape == {"r": 8, "alpha": 16, "targets": ["q_proj", "v_proj"]}


def test_full_fine_tuning_has_no_adapter_and_its_own_learning_rate():
    project = factories.project()
    full = rows.run(project, "sft", adapter=None)
    lora = rows.run(project, "sft")
    assert "adapter" not in full.config
    assert full.config["params"]["learning_rate"] < lora.config["params"]["learning_rate"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"params": {"betta": 0.1}}, "params.betta"),
        ({"params": {"beta": -1}}, "params.beta"),
        ({"overrides": ["params.trust_remote_code=true"]}, "params.trust_remote_code"),
        ({"overrides": ["base_model.path=../../etc"]}, "base_model.path"),
        ({"overrides": ["colour=red"]}, "colour"),
        ({"name": "no spaces please"}, "name"),
    ],
)
def test_a_bad_run_is_refused_by_the_name_of_its_key_and_leaves_nothing(options, field, data_folder):
    with pytest.raises(RunFileError) as refused:
        rows.run(factories.project(), "dpo", **options)
    assert refused.value.field == field
    assert not Run.objects.exists()
    assert list((data_folder / "runs").iterdir()) == []


def test_a_name_that_is_taken_is_refused(data_folder):
    project = factories.project()
    rows.run(project, name="mine")
    with pytest.raises(RunFileError, match="taken"):
        rows.run(project, name="mine")
    assert len(list((data_folder / "runs").iterdir())) == 1


def test_the_kind_of_snapshot_and_the_role_of_models_must_fit():
    project = factories.project()
    with pytest.raises(RunFileError, match="needs type preference"):
        rows.run(project, "reward", snapshot=rows.snapshot(project, "sft"))
    with pytest.raises(RunFileError, match="not a reward model"):
        rows.run(project, "ppo", reward_model=rows.model())
    with pytest.raises(RunFileError, match="reward_model is required"):
        rows.run(project, "ppo")


def test_a_reward_model_learns_from_rankings_and_ratings_too():
    project = factories.project()
    for type in ("ranking", "rating"):
        assert rows.run(project, "reward", name=type, snapshot=rows.snapshot(project, type)).config["kind"] == "reward"


def test_lora_settings_can_be_given_by_their_short_name():
    run = rows.run(factories.project(), overrides=["lora.r=4", "params.batch_size=2"])
    assert (run.config["adapter"]["r"], run.config["params"]["batch_size"]) == (4, 2)


def test_the_chat_template_of_the_base_is_passed_on():
    project = factories.project()
    base = rows.model(template="plain")
    assert rows.run(project, start_model=base).config["template"] == "plain"
    assert "template" not in rows.run(project).config


def test_an_evaluation_names_each_policy_with_its_base_and_reference():
    project, base = factories.project(), rows.model("base-model")
    sft = rows.model("sft-model", parent=base)
    prompts = [{"id": "p", "prompt": [{"role": "user", "content": "Hi"}]}]
    options = {"policies": [base, sft], "references": {"sft-model": "base-model"}, "prompts": prompts}
    run = runs.create(project, "evaluate", **options)
    first, second = run.config["params"]["policies"]
    assert (first["adapter"], first["reference"]) == (None, None)
    assert (second["base_model"]["path"], second["adapter"]["path"]) == (base.path, sft.path)
    assert second["reference"] == "base-model"


def test_a_queued_run_is_cancelled_at_once_and_can_be_resumed():
    run = runs.cancel(rows.run(factories.project()))
    assert run.state == Run.State.CANCELLED
    with pytest.raises(runs.CannotCancel, match="already ended"):
        runs.cancel(run)
    assert runs.resume(run).state == Run.State.QUEUED
    with pytest.raises(runs.CannotResume, match="is queued"):
        runs.resume(run)


def test_default_names_count_up():
    project = factories.project()
    assert [rows.run(project).name for _ in range(2)] == ["reward-1", "reward-2"]
