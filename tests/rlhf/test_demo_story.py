import io
import socket
from contextlib import nullcontext

import pytest
from django.core.management import CommandError, call_command

from annotation.models import Annotation, Project, User
from rlhf import generation, runs
from rlhf.demo import plan, story, summary, world
from rlhf.demo.progress import Progress, Step
from rlhf.management.commands import demo
from rlhf.models import Round, Run
from tests import factories
from tests.rlhf import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def progress():
    shown = Progress(io.StringIO(), list(story.STEPS.values()))
    shown.start()
    return shown


def admin() -> User:
    return User.objects.create_superuser("admin")


def test_the_demo_ends_with_the_figures_of_the_contract_and_a_second_one_keeps_all(loop_engine, tmp_path, monkeypatch):
    sizes = {"DEMONSTRATIONS": 3, "PAIR_PROMPTS": 12, "EVAL_PROMPTS": 3, "NEXT_PROMPTS": 2}
    for name, value in sizes.items():
        monkeypatch.setattr(plan, name, value)
    monkeypatch.setattr(story, "POLL_SECONDS", 0.01)
    made_ready: list[Project] = []
    monkeypatch.setattr(story.reports, "make_ready", made_ready.append)
    said, by, model = io.StringIO(), admin(), str(rows.weights(tmp_path / "tiny"))

    def play():
        return story.play(Progress(said, list(story.STEPS.values())), by=by, model=model)

    round = play()
    result = summary.summarise(round, 2.0)
    assert list(result) == ["base", "sft", "dpo", "ppo", "reward_accuracy", "seconds"]
    for name in summary.NAMES:
        assert list(result[name]) == ["preferred", "utility", "kl", "length"]
        assert list(result[name]["preferred"]) == ["value", "low", "high", "n"]
    assert list(result["reward_accuracy"]) == ["value", "low", "high", "n", "ceiling"]
    answers = [row for row in generation.read(round.runs.get(part="evaluate").folder) if row["model"] == "ppo-r1"]
    worth = [world.utility(row["prompt"], row["responses"][0]["text"]) for row in answers]
    assert result["ppo"]["utility"] == pytest.approx(sum(worth) / 3, abs=1e-4)
    assert not Annotation.objects.exclude(annotator__is_simulated=True).exists()
    assert len(summary.table(result, round)) == 6

    assert {project.slug for project in made_ready} == {plan.DEMO_PROJECT, plan.LABEL_PROJECT}

    before, played = (Run.objects.count(), Annotation.objects.count()), len(said.getvalue())
    assert play() == round and (Run.objects.count(), Annotation.objects.count()) == before
    assert said.getvalue()[played:].count("(kept from before)") == len(story.STEPS)


def test_a_demo_that_is_stopped_goes_on_from_a_checkpoint(engine, until, monkeypatch):
    monkeypatch.setattr(story, "POLL_SECONDS", 0.01)
    project = factories.project(slug=plan.LABEL_PROJECT)
    engine.endless()
    run, waiting = rows.run(project), rows.run(project)
    until(run, lambda run: run.step > 2)
    story.stop()
    run.refresh_from_db()
    assert (run.state, runs.metrics(run)[-1]["step"]) == (Run.State.QUEUED, run.step)
    waiting.refresh_from_db()
    assert waiting.attempt == 0  # the place that became free is nobody's
    engine.behave(steps=run.step + 1)
    Run.objects.filter(pk=run.pk).update(state=Run.State.CANCELLED)  # as when it is stopped on its page
    run.refresh_from_db()
    story._wait(run, Progress(io.StringIO(), [Step("Training", 1)]))
    assert (run.state, run.attempt) == (Run.State.SUCCEEDED, 2)


def test_the_command_says_at_once_that_its_port_is_taken_and_in_one_line_that_it_was_stopped(monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(story, "play", stopped)
    monkeypatch.setattr(demo, "call_command", lambda *_, **__: None)  # the tables are made already
    monkeypatch.setattr(demo.LOCAL, "kept_ready", nullcontext)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CommandError, match="choose another one with --port"):
            call_command("demo", port=taken.getsockname()[1])
    assert not User.objects.exists()
    with pytest.raises(CommandError, match="goes on from here") as end:
        call_command("demo", "--no-serve")
    assert end.value.returncode == 130
    assert not User.objects.get().has_usable_password()  # it is made when it can be shown


def test_the_time_left_follows_the_pace_of_this_machine_and_model():
    now = [0.0]
    shown = Progress(io.StringIO(), [Step("One", 100), Step("Two", 200)], clock=lambda: now[0])
    shown.start()
    assert shown.left(0.0) == 300
    now[0] = 1000.0  # a model ten times as slow, half-way through the first step
    assert shown.left(0.5) == pytest.approx(250 * 1030 / 80)
    now[0] = 2000.0
    shown.finish("done")
    shown.start()
    assert shown.left(0.0) == pytest.approx(200 * 2030 / 130)


def test_a_demo_of_another_model_is_not_told_with_the_figures_of_an_earlier_one(tmp_path, data_folder):
    project = factories.project(slug=plan.LABEL_PROJECT)
    desk = rows.model("desk")
    Round.objects.create(project=project, number=1, base_model=desk, start_model=desk)
    other = rows.weights(tmp_path / "tiny", b"other")
    with pytest.raises(story.DemoFailed, match=r"began with desk, not tiny\. Set HONE_DATA"):
        story.play(Progress(io.StringIO(), list(story.STEPS.values())), by=admin(), model=str(other))


def test_two_folders_of_one_name_are_not_taken_for_the_same_model(tmp_path, progress, data_folder):
    project = factories.project()
    first = rows.weights(tmp_path / "a" / "tiny", b"first")
    second = rows.weights(tmp_path / "b" / "tiny", b"second")
    made = story._base(project, progress, admin(), str(first))
    assert made.template == "plain"  # no chat template of its own
    assert story._base(project, progress, User.objects.get(), str(first)) == made
    with pytest.raises(story.registry.RegistryError, match="taken by another model"):
        story._base(project, progress, User.objects.get(), str(second))


def test_a_models_own_chat_template_is_kept(tmp_path, progress, data_folder):
    folder = rows.weights(tmp_path / "chatty")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert story._base(factories.project(), progress, admin(), str(folder)).template == ""
    assert Project.objects.count() == 1
