import json

import pytest
from django.db import IntegrityError, transaction

from annotation import accounts
from annotation.models import User
from rlhf import registry
from rlhf.models import Model
from tests import factories
from tests.rlhf import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def test_a_folder_is_copied_with_its_weights_and_words_and_nothing_else(tmp_path, data_folder):
    source = rows.weights(tmp_path / "source")
    (source / "tokenizer.json").write_text("{}")
    (source / "modeling_custom.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    model = registry.register_folder("mine", source, template="plain")
    assert sorted(file.name for file in model.folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (model.path, model.template, model.is_adapter, model.base) == ("models/mine", "plain", False, model)
    assert model.size == sum(file.stat().st_size for file in model.folder.iterdir())


def test_registering_the_same_again_gives_the_same_and_other_weights_are_refused(tmp_path):
    source = rows.weights(tmp_path / "source")
    first = registry.register_folder("mine", source)
    assert registry.register_folder("mine", source) == first
    rows.weights(source, b"other weights")
    with pytest.raises(registry.RegistryError, match="taken"):
        registry.register_folder("mine", source)


def test_a_template_file_becomes_the_models_own(tmp_path):
    source = rows.weights(tmp_path / "source")
    (tmp_path / "my.jinja").write_text("{{ messages }}")
    model = registry.register_folder("mine", source, template=str(tmp_path / "my.jinja"))
    assert (model.folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert model.template == ""


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: folder.rmdir(), "is not a folder"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b""), "no \\*.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "neither config.json"),
        (lambda folder: rows.weights(folder, auto_map={"AutoModel": "x.Y"}), "code of its own"),
        (lambda folder: rows.adapter(folder), "name the registered model"),
    ],
)
def test_what_cannot_be_loaded_safely_is_refused_in_a_sentence(tmp_path, data_folder, prepare, sentence):
    folder = tmp_path / "source"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(registry.RegistryError, match=sentence):
        registry.register_folder("mine", folder)
    assert not Model.objects.exists()
    assert list((data_folder / "models").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 81])
def test_a_name_is_a_slug(tmp_path, name):
    with pytest.raises(registry.RegistryError) as refused:
        registry.register_folder(name, rows.weights(tmp_path / "source"))
    assert refused.value.field == "name"


def test_an_adapter_stands_on_the_nearest_full_weights():
    base = rows.model()
    sft = rows.model(parent=base)
    assert rows.model(parent=sft).base == base


def test_promoting_replaces_the_former_one_and_there_is_only_one():
    project = factories.project()
    first, second = rows.model(project=project), rows.model(project=project)
    registry.promote(first, by=factories.user("lena"), reason="Better.")
    registry.promote(second, by=None, reason="Better still.")
    first.refresh_from_db()
    assert (first.state, second.state) == (Model.State.REPLACED, Model.State.PROMOTED)
    assert (first.decision["by"], second.decision["reason"]) == ("lena", "Better still.")
    cut = rows.snapshot(project)
    type(cut).objects.filter(pk=cut.pk).update(recipe={"exclude_annotators": ["lena", "otto"]})
    factories.admin("lenard")
    name = accounts.pseudonymise(User.objects.get(username="lena"), by=User.objects.get(username="lenard"))
    first.refresh_from_db(), cut.refresh_from_db()
    assert (first.decision["by"], cut.recipe["exclude_annotators"]) == (name, [name, "otto"])
    with pytest.raises(IntegrityError), transaction.atomic():
        Model.objects.filter(pk=first.pk).update(state=Model.State.PROMOTED)


def test_only_a_projects_policy_can_be_promoted():
    for model in (rows.model(), rows.model(project=factories.project(), role="reward")):
        with pytest.raises(registry.RegistryError):
            registry.promote(model, by=None)


def test_a_model_is_seen_by_those_who_may_read_its_project():
    project, other = factories.project(), factories.project()
    mine, theirs, shared = rows.model(project=project), rows.model(project=other), rows.model()
    trainer, annotator = factories.member(project, "trainer"), factories.member(project, "annotator")
    assert set(Model.objects.visible_to(trainer)) == {mine, shared}
    assert not Model.objects.visible_to(annotator).exists()
    assert set(Model.objects.visible_to(factories.admin())) == {mine, theirs, shared}
    assert json.loads((mine.folder / "config.json").read_text())
