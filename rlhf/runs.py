"""Runs: described by one checked file, queued, cancelled and resumed."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext

from annotation.models import Project, User
from rlhf.launcher import LAUNCHERS, Process
from rlhf.models import Model, Round, Run, Snapshot
from training import rundir, runfile
from training.runfile import RunFileError

# Which snapshots each kind can read; a kind that is not here takes the prompts of any.
READS = {
    Run.Kind.SFT: ("sft",),
    Run.Kind.REWARD: ("preference", "ranking", "rating"),
    Run.Kind.DPO: ("preference",),
    Run.Kind.KTO: ("binary",),
}
ADAPTED = tuple(Run.Kind(kind) for kind in runfile.compatibility.TRAINERS)

Files = Mapping[str, str | bytes | Path]


class CannotCancel(Exception):
    """The run has already ended."""


class CannotResume(Exception):
    """The run is not one that stopped before its end."""


def create(
    project: Project,
    kind: str,
    *,
    name: str | None = None,
    start_model: Model | None = None,
    snapshot: Snapshot | None = None,
    reward_model: Model | None = None,
    policies: Sequence[Model] = (),
    reference: str | None = None,
    references: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    adapter: Mapping[str, Any] | Literal["default"] | None = "default",
    hardware: Mapping[str, Any] | None = None,
    seed: int = 0,
    template: str | None = None,
    prompts: Iterable[Mapping[str, Any]] | None = None,
    extra_files: Files | None = None,
    overrides: Sequence[str] = (),
    round: Round | None = None,
    part: str = "",
    by: User | None = None,
) -> Run:
    """A queued run with its run directory, or RunFileError naming the key to change and nothing stored.

    `adapter` is None for full fine-tuning; by default the start model's own shape, or LoRA. `reference` (dpo, ppo) is
    the start model unless said otherwise. `policies` and `references` (name → name) are for evaluate. `prompts` are
    `{"id", "prompt"}`; `overrides` are `key.key=value` settings, applied last.
    """
    data = describe(
        kind,
        name=name or _next_name(kind),
        start_model=start_model,
        snapshot=snapshot,
        reward_model=reward_model,
        policies=policies,
        reference=reference,
        references=references or {},
        params=params or {},
        adapter=adapter,
        hardware=hardware or {},
        seed=seed,
        template=template,
        has_prompts=prompts is not None,
    )
    data = runfile.with_overrides(data, [re.sub(r"^lora\.", "adapter.", setting) for setting in overrides])
    _name_reference(data, start_model, reference)
    runfile.check(data, root=settings.HONE_DATA)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", data["name"]):
        raise RunFileError("name", gettext("must be letters, digits, hyphens and underscores, at most 80"))
    files: dict[str, str | bytes | Path] = dict(extra_files or {})
    if prompts is not None:
        files["prompts.jsonl"] = _prompt_lines(prompts)
    _require_corpus(data, files)
    rows = {"start_model": start_model, "reward_model": reward_model, "snapshot": snapshot, "round": round}
    run = Run(project=project, kind=kind, name=data["name"], config=data, part=part, created_by=by, **rows)
    return _store(run, files)


def _require_corpus(data: Mapping[str, Any], files: Files) -> None:
    if data["kind"] == Run.Kind.PRETRAIN and (corpus := data["params"]["corpus"]) not in files:
        said = gettext("names %(corpus)s, which is not among the run's files") % {"corpus": corpus}
        raise RunFileError("params.corpus", said)


def describe(
    kind: str,
    *,
    name: str,
    start_model: Model | None = None,
    snapshot: Snapshot | None = None,
    reward_model: Model | None = None,
    policies: Sequence[Model] = (),
    reference: str | None = None,
    references: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    adapter: Mapping[str, Any] | Literal["default"] | None = "default",
    hardware: Mapping[str, Any] | None = None,
    seed: int = 0,
    template: str | None = None,
    has_prompts: bool = False,
) -> dict[str, Any]:
    """What run.json would say, with every default written out; not checked yet."""
    if kind not in runfile.PARAMS:
        raise RunFileError(
            "kind",
            gettext("must be one of %(params)s, got %(kind)r") % {"params": ", ".join(runfile.PARAMS), "kind": kind},
        )
    _check_rows(kind, start_model, snapshot, reward_model)
    if adapter == "default":
        adapter = _default_adapter(start_model) if kind in ADAPTED else None
    settings_of_kind = runfile.defaults(kind, adapter.get("method", "lora") if adapter else None) | dict(params or {})
    if policies:
        settings_of_kind["policies"] = [_policy(each, references or {}) for each in policies]
    data: dict[str, Any] = {"schema": 1, "kind": kind, "name": name, "seed": seed, "params": settings_of_kind}
    if start_model and kind != Run.Kind.EVALUATE:
        data["base_model"] = model_ref(start_model.base)
        if start_model.is_adapter:
            data["start_adapter"] = model_ref(start_model)
    if adapter:
        data["adapter"] = dict(adapter)
    _name_reference(data, start_model, reference)
    if reward_model:
        data["reward_model"] = model_ref(reward_model)
    if snapshot:
        data["snapshot"] = {"path": snapshot.path, "hash": snapshot.content_hash}
    if has_prompts:
        data["prompts"] = "prompts.jsonl"
    first = start_model or (policies[0] if policies else None)
    if template := template or (first and (first.template or first.base.template)) or "":
        data["template"] = template
    return data | {"hardware": dict(hardware or {})}


def model_ref(model: Model) -> dict[str, str]:
    """How run.json names a registered model."""
    return {"path": model.path, "sha256": model.sha256}


def cancel(run: Run) -> Run:
    """Ask a run to stop; it ends within one step and leaves a checkpoint. A queued one ends at once."""
    row = Run.objects.filter(pk=run.pk)
    if row.filter(state=Run.State.QUEUED).update(state=Run.State.CANCELLED, finished_at=timezone.now()):
        run.refresh_from_db()
        return run
    asked = row.filter(state__in=[Run.State.STARTING, Run.State.RUNNING]).update(state=Run.State.STOPPING)
    run.refresh_from_db()
    if not asked and run.state != Run.State.STOPPING:
        raise CannotCancel(
            gettext("%(run)s has already ended: %(state)s.")
            % {"run": run.name, "state": gettext(run.get_state_display()).lower()}
        )
    if run.pid is not None:  # else the runner, which is starting it now, sees the state and stops it
        LAUNCHERS[run.launcher].stop(Process(run.pid, run.pid_started))
    return run


def cancel_all(rows: QuerySet[Run]) -> None:
    """Ask all of these that have not ended to stop; their processes hear of it once the transaction is there."""
    rows.filter(state=Run.State.QUEUED).update(state=Run.State.CANCELLED, finished_at=timezone.now())
    rows.filter(state__in=[Run.State.STARTING, Run.State.RUNNING]).update(state=Run.State.STOPPING)
    for run in rows.filter(state=Run.State.STOPPING).exclude(pid=None):
        transaction.on_commit(partial(LAUNCHERS[run.launcher].stop, Process(run.pid or 0, run.pid_started)))


def resume(run: Run) -> Run:
    """Queue a cancelled, failed or lost run again; it goes on from its last complete checkpoint."""
    stopped = Run.objects.filter(pk=run.pk, state__in=[Run.State.CANCELLED, Run.State.FAILED, Run.State.LOST])
    fresh = {
        "state": Run.State.QUEUED,
        "error": None,
        "losses": 0,
        "finished_at": None,
        "pid": None,
        "pid_started": None,
    }
    if not stopped.update(**fresh):
        run.refresh_from_db()
        raise CannotResume(
            gettext("%(run)s is %(state)s; only a run that stopped early can go on.")
            % {"run": run.name, "state": gettext(run.get_state_display()).lower()}
        )
    if run.round_id:
        Round.objects.filter(pk=run.round_id).update(problem="")
    run.refresh_from_db()
    return run


def _name_reference(data: dict[str, Any], start: Model | None, reference: str | None) -> None:
    """Write down what a run that measures drift drifts from: the start model unless `reference` says otherwise."""
    params = data["params"] if isinstance(data["params"], dict) else {}  # an override can be anything
    if reference:
        data["reference"] = reference
    elif not runfile.needs_reference(data["kind"], params):
        data.pop("reference", None)
    else:
        data.setdefault("reference", "start_adapter" if start and start.is_adapter else "base")


def _check_rows(kind: str, start: Model | None, snapshot: Snapshot | None, reward: Model | None) -> None:
    if kind in READS and snapshot and snapshot.type not in READS[Run.Kind(kind)]:
        wanted = " or ".join(READS[Run.Kind(kind)])
        raise RunFileError(
            "snapshot",
            gettext("holds %(type)s; a %(kind)s run needs type %(wanted)s")
            % {"type": gettext(snapshot.get_type_display()).lower(), "kind": kind, "wanted": wanted},
        )
    if reward and reward.role != Model.Role.REWARD:
        raise RunFileError(
            "reward_model", gettext("is %(reward)s, which is a policy, not a reward model") % {"reward": reward.name}
        )
    if start and start.role != Model.Role.POLICY and kind != Run.Kind.REWARD:
        raise RunFileError(
            "base_model", gettext("is %(start)s, which is a reward model, not a policy") % {"start": start.name}
        )


def _default_adapter(start: Model | None) -> dict[str, Any]:
    """The start adapter's own shape, because its weights are copied; otherwise LoRA as the engine defaults it."""
    if start and start.is_adapter:
        saved = runfile.compatibility.saved_adapter(start.folder)
        if reason := runfile.compatibility.continuation_refusal(saved["method"]):
            raise RunFileError("start_adapter", reason)
        return saved
    return {"method": "lora", "r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}


def _policy(model: Model, references: Mapping[str, str]) -> dict[str, Any]:
    adapter = model_ref(model) if model.is_adapter else None
    described = {"name": model.name, "base_model": model_ref(model.base), "adapter": adapter}
    return described | {"reference": references.get(model.name)}


def _prompt_lines(prompts: Iterable[Mapping[str, Any]]) -> str:
    rows = [json.dumps({"id": str(row["id"]), "prompt": row["prompt"]}, ensure_ascii=False) for row in prompts]
    if not rows:
        raise RunFileError("prompts", gettext("are empty: nothing to answer"))
    return "\n".join(rows) + "\n"


def _next_name(kind: str) -> str:
    """`kind-N`, one above the highest number in use."""
    names = Run.objects.filter(kind=kind, name__startswith=f"{kind}-").values_list("name", flat=True)
    numbers = [int(match[1]) for name in names if (match := re.fullmatch(rf"{kind}-(\d+)", name))]
    return f"{kind}-{max(numbers, default=0) + 1}"


def _store(run: Run, files: Files) -> Run:
    """Write the directory first and show it with its row: whoever sees the row finds the directory complete."""
    root = Path(settings.HONE_DATA) / "runs"
    temporary = root / f".{uuid.uuid4().hex}.tmp"
    temporary.mkdir(parents=True)
    try:
        for name, content in files.items():
            _write(temporary / name, content)
        runfile.write(temporary / "run.json", run.config, root=settings.HONE_DATA)
        with transaction.atomic():
            run.save()
            if run.folder.exists():  # of a row that was rolled back; the number is ours now
                shutil.rmtree(run.folder)
            temporary.rename(run.folder)
    except IntegrityError:
        raise RunFileError(
            "name", gettext("is taken: there is a run named %(run)s already") % {"run": run.name}
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return run


def _write(path: Path, content: str | bytes | Path) -> None:
    if path.name != Path(path.name).name or path.name in ("run.json", "status.json"):
        raise RunFileError("extra_files", gettext("may not hold %(path)s") % {"path": path.name})
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def log(run: Run, after: int, limit: int) -> dict[str, Any]:
    """Lines of the run's log behind the first `after`: `{"state", "next", "more", "lines"}`."""
    lines, more = rundir.lines_after(run.folder / "log.txt", after, limit)
    return {"state": run.state, "next": after + len(lines), "more": more, "lines": lines}


def samples(run: Run, after: int, limit: int) -> dict[str, Any]:
    """What the run showed people, behind the first `after` lines: `{"state", "next", "more", "samples"}`.

    Each sample has its `line`; what a run repeats after it was resumed comes again, and the later line counts.
    """
    lines, more = rundir.lines_after(run.folder / "samples.jsonl", after, limit)
    rows = ((number, rundir.object_in(text)) for number, text in enumerate(lines, start=after + 1))
    found = [{"line": number, **row} for number, row in rows if row is not None]
    return {"state": run.state, "next": after + len(lines), "more": more, "samples": found}


def metrics(run: Run, after: int | None = None) -> list[dict[str, Any]]:
    """The run's metric rows later than step `after`."""
    return rundir.read_metrics(run.folder, after)
