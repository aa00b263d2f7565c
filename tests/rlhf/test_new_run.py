import pytest

from rlhf import snapshots
from rlhf.models import Model, Run
from rlhf.run_charts import charts_of
from tests.rlhf import rows
from tests.rlhf.page_rows import address, judged
from training import runfile

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def form_of(project, kind="reward", **changes):
    """What a browser would send for the form as it opens, with changes."""
    from rlhf.run_form import RunForm

    form = RunForm(project=project, kind=kind, adapter=changes.get("adapter", "lora"))
    sent = {
        field.html_name: field.value() for field in form if field.value() is not None and field.value() is not False
    }
    return sent | {"kind": kind, "adapter": "lora"} | changes


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
        ("kto", "dora", {"r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}),
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


def test_an_adapter_goes_on_as_what_it_is_and_layers_and_numbers_survive_a_copy(client, trainer):
    rows.snapshot(trainer)
    changes = {"adapter.targets": "q_proj, v_proj", "params.learning_rate": "1.2345678e-05"}
    client.post(address("new_run", trainer), form_of(trainer, "dpo", **changes))
    run = Run.objects.get()
    assert run.config["adapter"]["targets"] == ["q_proj", "v_proj"]
    copied = client.get(address("new_run", trainer, copy=run.pk)).content.decode()
    assert 'value="q_proj, v_proj"' in copied and 'value="1.2345678e-05"' in copied

    base = Model.objects.policies().first()
    start = rows.model("mine", project=trainer, parent=base)
    rows.adapter(start.folder, b"mine", use_dora=True)
    page = client.get(address("new_run", trainer, kind="dpo", start_model=start.pk)).content.decode()
    assert 'id="id_adapter_dora" checked' in page and "id_adapter.r" not in page
    sent = form_of(trainer, "dpo") | {"start_model": start.pk}
    refused = client.post(address("new_run", trainer), sent)
    assert refused.status_code == 422 and "Must be DoRA, as which mine goes on" in refused.content.decode()
    sent = form_of(trainer, "dpo", adapter="dora")
    assert sent["start_model"] == start.pk and not [name for name in sent if name.startswith("adapter.")]
    assert client.post(address("new_run", trainer), sent).status_code == 302  # nothing that the page hides is needed
    assert Run.objects.first().config["adapter"] | {"method": "dora", "r": 8} == Run.objects.first().config["adapter"]


def test_a_rule_takes_the_place_of_the_reward_model(client, trainer):
    rows.snapshot(trainer)
    page = client.get(address("new_run", trainer, kind="grpo")).content.decode()
    assert "None: a rule scores" in page and "id_adapter_adalora" not in page and "id_adapter_full" in page
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
