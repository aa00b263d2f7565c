"""The model registry: how weights get in, and which policy is the promoted one."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext

from annotation.models import Project, User
from rlhf import model_cards
from rlhf.models import Model, Run
from training import rundir, runfile

# What a model folder may bring: weights, configuration, tokenizer and templates. Never code, never pickles.
KEPT = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.md", "LICENSE*")


class RegistryError(ValueError):
    """A model that cannot be registered or promoted, in one sentence; `field` is what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def register_folder(
    name: str,
    path: Path | str,
    *,
    project: Project | None = None,
    role: str = Model.Role.POLICY,
    template: str = "",
    parent: Model | None = None,
    source: str = "",
) -> Model:
    """A model copied from a folder into the registry, or the one already there when name and weights are the same.

    `template` is `plain`, `chatml`, or the path of a Jinja file that becomes the model's own chat template. A folder
    with an `adapter_config.json` is an adapter and needs `parent`.
    """
    folder = Path(path).expanduser()
    _check_folder(folder, name)
    is_adapter = (folder / "adapter_config.json").is_file()
    if is_adapter and parent is None:
        raise RegistryError(
            "parent",
            gettext("%(folder)s holds an adapter: name the registered model it belongs to.") % {"folder": folder},
        )
    digest = runfile.model_hash(folder)
    if existing := Model.objects.filter(name=name).first():
        if existing.sha256 == digest and existing.folder.is_dir():
            return existing
        raise RegistryError(
            "name", gettext("The name %(name)s is taken by another model; choose another one.") % {"name": name}
        )
    target = _copy(folder, name)
    fields: dict[str, Any] = {"project": project, "role": role, "is_adapter": is_adapter, "parent": parent}
    fields |= {
        "sha256": digest,
        "template": _place_template(template, target),
        "source": source or str(path),
        "size": _size(target),
    }
    return Model.objects.create(name=name, path=f"models/{name}", **fields)


def register_hub(name: str, repo_id: str, *, project: Project | None = None, template: str = "") -> Model:
    """A model downloaded from the Hugging Face hub; its exact revision is kept as the source."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import HfApi, snapshot_download  # slow to import, and only needed here
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        revision = HfApi().model_info(repo_id).sha
        cache = settings.HONE_DATA / "cache" / "hub"
        folder = snapshot_download(repo_id, revision=revision, cache_dir=cache, allow_patterns=list(KEPT))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RegistryError(
            "folder",
            gettext("%(repo_id)s could not be downloaded: %(splitlines)s")
            % {"repo_id": repo_id, "splitlines": str(error).splitlines()[0]},
        ) from error
    return register_folder(name, folder, project=project, template=template, source=f"{repo_id}@{revision}")


def register_run(run: Run) -> Model:
    """The model that a training run left behind; asking twice gives the same one."""
    if existing := Model.objects.filter(run=run).first():
        return existing
    folder = run.folder / "model"
    report = rundir.read_report(run.folder) or {}
    if not (report.get("reload_check") or {}).get("ok"):
        raise RegistryError(
            "run",
            gettext("%(run)s has no report that its model reproduces its scores after loading.") % {"run": run.name},
        )
    template, name = run.config.get("template") or "", _free_name(run.name)
    model_cards.write(run, folder, name=name, report=report)
    return Model.objects.create(
        project=run.project,
        name=name,
        role=Model.Role.REWARD if run.kind == Run.Kind.REWARD else Model.Role.POLICY,
        is_adapter=(folder / "adapter_config.json").is_file(),
        parent=run.start_model,
        run=run,
        path=f"runs/{run.pk}/model",
        sha256=runfile.model_hash(folder),
        size=_size(folder),
        template=template if template in runfile.TEMPLATES else "",  # a template file is saved with the model itself
        figures={"training": report.get("eval") or {}},
    )


def promote(model: Model, *, by: User | None, reason: str = "") -> Model:
    """Make `model` its project's promoted policy; the former one becomes replaced, both at once or neither."""
    if model.project_id is None or model.role != Model.Role.POLICY:
        raise RegistryError(
            "model",
            gettext("%(model)s is not a policy of a project, so it cannot be promoted.") % {"model": model.name},
        )
    decision = {"by": by.username if by else "", "at": timezone.now().isoformat(), "reason": reason}
    rivals = Model.objects.filter(project=model.project_id, role=model.role)
    try:
        with transaction.atomic():
            rivals.filter(state=Model.State.PROMOTED).exclude(pk=model.pk).update(state=Model.State.REPLACED)
            rivals.filter(pk=model.pk).update(state=Model.State.PROMOTED, decision=decision)
    except IntegrityError:  # the constraint allows one promoted policy: somebody promoted another at this moment
        raise RegistryError("model", gettext("Another model was promoted at the same moment; look again.")) from None
    model.refresh_from_db()
    return model


def reject(model: Model, *, by: User | None, reason: str = "") -> Model:
    """Mark a candidate as rejected; a promoted model stays what it is until another replaces it."""
    decision = {"by": by.username if by else "", "at": timezone.now().isoformat(), "reason": reason}
    candidates = Model.objects.filter(pk=model.pk, state=Model.State.CANDIDATE)
    candidates.update(state=Model.State.REJECTED, decision=decision)
    model.refresh_from_db()
    return model


def note_evaluation(run: Run, report: dict[str, Any]) -> None:
    """Keep what an evaluate run measured beside the models it measured."""
    policies = (report.get("eval") or {}).get("policies") or {}
    for model in Model.objects.filter(name__in=list(policies)):
        model.figures = {**model.figures, "evaluation": {**policies[model.name], "run": run.name}}
        model.save(update_fields=["figures"])


def note_comparison(name: str, rate: dict[str, Any]) -> None:
    """Keep with the model how often people preferred its answers, as `evaluation.win_rates` counts it."""
    for model in Model.objects.filter(name=name):
        model.figures = {**model.figures, "preferred": rate["preferred"]}
        model.save(update_fields=["figures"])


def _check_folder(folder: Path, name: str) -> None:
    if slugify(name) != name.lower() or not name or len(name) > 80:
        raise RegistryError(
            "name", gettext("%(name)r must be letters, digits, hyphens and underscores, at most 80.") % {"name": name}
        )
    if not folder.is_dir():
        raise RegistryError("folder", gettext("%(folder)s is not a folder.") % {"folder": folder})
    if not runfile.weight_files(folder):
        raise RegistryError(
            "folder",
            gettext("%(folder)s has no *.safetensors weights; other formats are not loaded.") % {"folder": folder},
        )
    config = folder / "config.json"
    if not config.is_file() and not (folder / "adapter_config.json").is_file():
        raise RegistryError(
            "folder", gettext("%(folder)s has neither config.json nor adapter_config.json.") % {"folder": folder}
        )
    try:
        described = json.loads(config.read_text("utf-8")) if config.is_file() else {}
    except ValueError as error:
        raise RegistryError("folder", gettext("%(config)s is not JSON.") % {"config": config}) from error
    if "auto_map" in described:
        raise RegistryError(
            "folder", gettext("%(folder)s needs code of its own to load, which Hone never runs.") % {"folder": folder}
        )


def _copy(folder: Path, name: str) -> Path:
    """Copy the files that a model may bring; the folder appears under its name only when complete."""
    target = Path(settings.HONE_DATA) / "models" / name
    temporary = target.with_name(f".{name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(parents=True)
    try:
        for pattern in KEPT:
            for file in folder.glob(pattern):
                shutil.copyfile(file, temporary / file.name)
        if target.exists():  # left by an attempt that stored no row: names of rows are checked before
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _place_template(template: str, target: Path) -> str:
    if not template or template in runfile.TEMPLATES:
        return template
    if not Path(template).is_file():
        known = ", ".join(runfile.TEMPLATES)
        raise RegistryError(
            "template",
            gettext("%(template)s is neither a template's name (%(known)s) nor a file.")
            % {"template": template, "known": known},
        )
    shutil.copyfile(template, target / "chat_template.jinja")  # where transformers looks for it
    return ""


def _free_name(name: str) -> str:
    """`name`, or the first of name-2, name-3, … that no model has."""
    taken = set(Model.objects.filter(name__startswith=name).values_list("name", flat=True))
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name[:75]}-{number}"
    return candidate


def _size(folder: Path) -> int:
    files = [*folder.iterdir(), *folder.glob(f"{runfile.MEMBER}*/*")]
    return sum(file.stat().st_size for file in files if file.is_file())
