"""Models: the leaderboard of a project, and one model with everything it came from."""

from __future__ import annotations

import json
from typing import Any

from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from annotation.access import project_for
from annotation.models import Project
from annotation.models.people import READS_DATA, TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import figures, history, withdrawn
from rlhf.charts import shows_as_table
from rlhf.family import family_of
from rlhf.leaderboard import policies_of, reward_against_utility, reward_models_of
from rlhf.models import Model, Round
from rlhf.run_charts import calibration
from rlhf.stages import interval_words
from training import rundir
from training.runfile import MEMBER

SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model", ".md")


@require_GET
@signed_in
def models(request: PersonRequest, slug: str) -> HttpResponse:
    """The policies ranked by people, and the reward models beside what length alone would reach."""
    project = project_for(request.user, slug, READS_DATA)
    policies, rewards = policies_of(project), reward_models_of(project)
    tables = request.GET.getlist("table")
    newest = rewards[0].model if rewards else None
    context = {
        "project": project,
        "policies": policies,
        "rewards": rewards,
        "withdrawn": withdrawn.behind_models(),
        "comparisons": sum((row.figures.preferred or {}).get("n", 0) for row in policies),
        "simulated": figures.simulated_words(_simulated_share(project)),
        "parting": shows_as_table(reward_against_utility(policies), tables),
        "calibration": shows_as_table(_calibration(newest), tables) if newest else None,
        "has_utility": any(row.figures.utility for row in policies),
        "ceiling": next((row.figures.ceiling for row in rewards if row.figures.ceiling), None),
        "may_train": project.my_role in TRAINS,
    }
    return render(request, "rlhf/models.html", context)


@require_GET
@signed_in
def model(request: PersonRequest, name: str) -> HttpResponse:
    """One model: its figures, where it comes from, what came of it, its files and how to load it."""
    row = _find(request, name)
    project = row.project or _last_project(request)
    known = figures.of(row)
    report = rundir.read_report(row.run.folder) if row.run else None
    chart = _calibration(row) if row.role == Model.Role.REWARD else None
    snapshot = figures.snapshot_behind(row)
    gone = withdrawn.behind_models().get(row.pk, [])
    context = {
        "model": row,
        "project": project,
        "figures": known,
        "interval": interval_words(known.preferred or known.accuracy or {}),
        "method": history.method_of(row),
        "family": family_of(row),
        "snapshot": snapshot,
        "simulated": figures.simulated_words(snapshot.simulated_share) if snapshot else "",
        "behind": history.behind(row),
        "withdrawn": gone,
        "withdrawn_words": withdrawn.words(gone),
        "files": _files(row),
        "report": report,
        "calibration": shows_as_table(chart, request.GET.getlist("table")) if chart else None,
        "snippet": _snippet(row),
        "trail": _trail(row),
        "rivals": _rivals(row),
        "used_by": _used_by(row),
        "may_train": bool(project and project.role_of(request.user) in [str(role) for role in TRAINS]),
    }
    return render(request, "rlhf/model.html", context)


@require_GET
@signed_in
def model_file(request: PersonRequest, name: str, file: str) -> FileResponse:
    """One file of the model's folder."""
    row = _find(request, name)
    if file not in [each["name"] for each in _files(row)]:
        raise Http404
    path = row.folder / file
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name)


def _find(request: PersonRequest, name: str) -> Model:
    rows = Model.objects.visible_to(request.user).select_related("project", "parent", "run__snapshot", "run__round")
    return get_object_or_404(rows, name=name)


def _last_project(request: PersonRequest) -> Project | None:
    """For a base model that belongs to no project: the one this person was in, for the side bar."""
    projects = Project.objects.data_readable_by(request.user)
    return projects.filter(slug=request.session.get("project", "")).first() or projects.first()


def _simulated_share(project: Project) -> float:
    """The share of simulated verdicts among the comparisons shown."""
    known = Round.objects.filter(project=project).values_list("evaluation", flat=True)
    return figures.simulated_share(row for told in known for row in (told.get("policies") or {}).values())


def _calibration(row: Model) -> Any:
    return calibration(
        "calibration",
        (row.figures or {}).get("training") or {},
        title=gettext("Calibration of %(name)s") % {"name": row.name},
    )


def _files(row: Model) -> list[dict[str, Any]]:
    if not row.folder.is_dir():
        return []
    folders = [row.folder, *(row.folder / name for name in _members(row))]
    paths = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    found = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    return [{"name": path.relative_to(row.folder).as_posix(), "size": path.stat().st_size} for path in found]


def _snippet(row: Model) -> str:
    """Plain transformers and peft: nothing of ours is needed to use a model."""
    kind, extra = "AutoModelForCausalLM", ""
    if row.role == Model.Role.REWARD:
        kind, extra = "AutoModelForSequenceClassification", f", num_labels={_outputs(row)}"
    lines = [f"from transformers import AutoTokenizer, {kind}"]
    if row.is_adapter:
        lines += [
            "from peft import PeftModel",
            "",
            f'base = {kind}.from_pretrained("{row.base.path}"{extra})',
            f'model = PeftModel.from_pretrained(base, "{row.path}")',
        ]
        lines += [f'model.load_adapter("{row.path}/{name}", "{name}")' for name in _members(row)]
    else:
        lines += ["", f'model = {kind}.from_pretrained("{row.path}"{extra})']
    return "\n".join([*lines, f'tokenizer = AutoTokenizer.from_pretrained("{row.path}")'])


def _outputs(row: Model) -> int:
    """How many numbers an adapter gives: one for each aspect of each member of an ensemble that shares it."""
    try:
        heads = json.loads((row.folder / "hone.json").read_text("utf-8"))["heads"]
        return (1 if heads.get("apart") else int(heads["members"])) * len(heads["weights"])
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def _members(row: Model) -> list[str]:
    """The folders of an ensemble's further members, each with an adapter of its own."""
    return sorted(
        (path.name for path in row.folder.glob(f"{MEMBER}*")), key=lambda name: int(name.removeprefix(MEMBER))
    )


def _trail(row: Model) -> list[dict[str, Any]]:
    """What happened to a model, newest first."""
    trail: list[dict[str, Any]] = []
    if row.decision:
        by, reason = row.decision.get("by") or gettext("the plan"), row.decision.get("reason") or ""
        words = gettext("%(state)s by %(name)s") % {"state": gettext(row.get_state_display()), "name": by}
        words += f": “{reason}”" if reason else ""
        trail.append({"words": words, "at": row.decision.get("at", "")[:16].replace("T", " "), "on": True})
    if evaluated := (row.figures or {}).get("evaluation"):
        trail.append(
            {
                "words": gettext("Evaluated by %(run)s") % {"run": evaluated.get("run") or gettext("a run")},
                "at": "",
                "on": False,
            }
        )
    made = gettext("Registered")
    if row.run:
        made = gettext("Made by %(run)s") % {"run": row.run.name}
    elif row.source:
        made = gettext("Registered from %(source)s") % {"source": row.source}
    return [*trail, {"words": made, "at": f"{row.created_at:%Y-%m-%d %H:%M}", "on": not row.decision}]


def _rivals(row: Model) -> list[Model]:
    """The promoted policy of the project, and the one before it, for the card on promotion."""
    if row.project is None or row.role != Model.Role.POLICY:
        return []
    states = [Model.State.PROMOTED, Model.State.REPLACED]
    found = list(Model.objects.policies().filter(project=row.project, state__in=states)[:3])
    return found if row in found else [row, *found]


def _used_by(row: Model) -> list[dict[str, str]]:
    runs = [*row.runs_from.all()[:6], *row.runs_rewarded.all()[:6]]
    used = [
        {
            "name": run.name,
            "href": run.get_absolute_url(),
            "words": gettext("start") if run.start_model_id == row.pk else gettext("reward"),
            "state": run.state,
            "label": gettext(run.get_state_display()),
        }
        for run in runs
    ]
    return used[:8]
