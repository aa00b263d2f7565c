import io

import pytest

from annotation.models import Project, User
from rlhf.demo import plan, story
from rlhf.demo.progress import Progress
from rlhf.models import Round
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
