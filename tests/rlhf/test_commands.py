import io
import json

import pytest
from django.core.management import CommandError, call_command

from annotation import judging, queue
from annotation.models import Task
from rlhf import following, serving
from rlhf.models import Model, Round, Run, Snapshot
from tests import factories
from tests.rlhf import rows

pytestmark = pytest.mark.django_db


def said(*arguments, **options):
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def prompt_file(folder, *texts):
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return str(path)


def test_train_queues_waits_and_names_the_model(loop_engine):
    project = factories.project()
    base, snapshot = rows.model("desk-base"), rows.snapshot(project)
    output = said("train", "reward", "--base", "desk-base", "--snapshot", snapshot.name, "--set", "lora.r=4", "seed=7")
    run = Run.objects.get()
    assert (run.config["adapter"]["r"], run.config["seed"], run.start_model) == (4, 7, base)
    assert "reward-1 succeeded" in output
    assert "Model reward-1 in runs/" in output
    assert "accuracy: 0.700 (0.600 to 0.800, n 100)" in output


def test_a_failed_run_ends_the_command_with_its_own_sentence(engine):
    engine.behave(at_end="raise rundir.Diverged('loss became nan.', 'Lower it.')")
    snapshot = rows.snapshot(factories.project())
    with pytest.raises(CommandError, match=r"reward-1: failed\. loss became nan\. Lower it\."):
        said("train", "reward", "--base", rows.model().name, "--snapshot", snapshot.name)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--base", "nobody", "--project", "here"], "There is no model nobody"),
        (["--base", "some", "--snapshot", "none"], "There is no snapshot none"),
        (["--base", "some", "--project", "nowhere"], "There is no project nowhere"),
        (["--base", "some"], "--snapshot or --project"),
        (["--base", "some", "--project", "here"], "snapshot is required for a dpo run."),
        (["--base", "some", "--project", "here", "--set", "params.beta"], "must look like key.key=value"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(data_folder, arguments, sentence):
    factories.project(slug="here")
    rows.model("some")
    with pytest.raises(CommandError, match=sentence):
        said("train", "dpo", *arguments)
    assert not Run.objects.exists()


def test_generate_makes_tasks_and_counts_what_it_left_out(loop_engine, tmp_path):
    project, model = factories.project(), rows.model()
    prompts = prompt_file(tmp_path, "One?", "Two?")
    output = said("generate", project.slug, "--model", model.name, "--prompts", prompts)
    assert f"2 tasks in {project.slug}" in output
    assert Task.objects.filter(project=project).count() == 2
    assert {response.source for task in Task.objects.all() for response in task.responses.all()} == {model.name}


def test_evaluate_prints_a_table(loop_engine, tmp_path):
    project, base, sft = factories.project(), rows.model("base"), rows.model("sft")
    prompts = prompt_file(tmp_path, "One?", "Two?")
    output = said("evaluate", project.slug, "--policies", base.name, sft.name, "--prompts", prompts)
    table = [line.split() for line in output.splitlines() if line.startswith(("policy", "base", "sft"))]
    assert table == [["policy", "kl", "length", "n"], ["base", "2.000", "9.000", "2"], ["sft", "2.000", "9.000", "2"]]
    assert Model.objects.get(name="sft").figures["evaluation"]["kl"] == 2.0


def test_a_bad_prompt_file_is_named_by_its_line(data_folder, tmp_path):
    (tmp_path / "bad.jsonl").write_text('"fine"\n{"prompt": 3}\n')
    project, model = factories.project(), rows.model()
    with pytest.raises(CommandError, match="Line 2"):
        said("generate", project.slug, "--model", model.name, "--prompts", str(tmp_path / "bad.jsonl"))


def test_a_snapshot_is_counted_first_and_cut_then(data_folder):
    project = factories.project()
    person = factories.member(project)
    for number in range(5):
        factories.task(project, prompt=[{"role": "user", "content": f"{number}?"}])
    while assignment := queue.lease_next(project, person):
        judging.submit(assignment.task, person, {"choice": "b", "strength": 1})
    arguments = ["snapshot", project.slug, "--type", "preference", "--name", "prefs", "--eval-share", "0"]
    assert "5 train and 0 eval rows from 5 judgements by 1 annotators" in said(*arguments, "--dry-run")
    assert not Snapshot.objects.exists()
    assert "prefs v1 in" in said(*arguments)
    with pytest.raises(CommandError, match="colour is not a key"):
        said(*arguments, "--recipe", '{"colour": 1}')


def test_a_round_stops_where_people_are_needed_and_says_for_what(loop_engine, tmp_path):
    project, start = factories.project(), rows.model()
    prompts = prompt_file(tmp_path, *(f"Question {number}?" for number in range(6)))
    arguments = ["round", project.slug, "--start", start.name, "--prompts", prompts]
    output = said(*arguments, "--set", "prompts=4", "eval_prompts=2")
    assert "waits for people: 0 of 4 judgements stand" in output
    assert Round.objects.get().base_model == start
    assert "0 of 4" in said("round", project.slug)
    with pytest.raises(CommandError, match="prompts must be"):
        said(*arguments, "--set", "prompts=many")
    with pytest.raises(CommandError, match="does not wait for a decision"):
        said("round", project.slug, "--reject")
    with pytest.raises(CommandError, match="Give the reason"):
        said("round", project.slug, "--abandon")
    said("round", project.slug, "--abandon", "--reason", "The prompts were wrong.")
    assert Round.objects.get().state == "abandoned"


def test_register_model_tells_what_it_took(data_folder, tmp_path):
    output = said("register_model", "mine", str(rows.weights(tmp_path / "weights")), "--template", "plain")
    assert output.startswith("mine: full weights, 0.0 MB, sha256")
    with pytest.raises(CommandError, match="is not a folder"):
        said("register_model", "other", "./nowhere")


def test_progress_is_one_line_on_a_terminal_and_few_lines_elsewhere():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for out, expected in ((Terminal(), "\r\x1b[Kone\r\x1b[Ktwo\n"), (io.StringIO(), "one\ntwo\n")):
        line = following.Line(out, clock=lambda: 1.0)
        for text, last in (("one", False), ("one", False), ("two", True)):
            line.write(text, last=last)
        assert out.getvalue() == expected
    assert [following.duration(seconds) for seconds in (45, 200, 7900)] == ["45 s", "3 min", "2 h 12 min"]


def test_the_first_admin_has_a_password_from_the_moment_it_can_be_shown():
    admin = serving.site_admin()
    assert serving.site_admin() == admin and not admin.has_usable_password()
    password = serving.first_password(admin)
    assert password and len(password) >= 16 and serving.site_admin().check_password(password)
    assert serving.first_password(serving.site_admin()) is None


def test_serve_refuses_without_migrations(monkeypatch):
    monkeypatch.setattr(serving, "unapplied_migrations", lambda: ["rlhf.0001_initial"])
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        said("serve")
