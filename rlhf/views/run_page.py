"""What the page of one run shows, gathered from its row and its directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext, gettext_noop, ngettext

from annotation.models.people import TRAINS
from rlhf import figures, health
from rlhf.charts import Chart, shows_as_table
from rlhf.forests import forests
from rlhf.models import Run
from rlhf.run_charts import calibration, charts_of, latest
from rlhf.runs import ADAPTED
from rlhf.views.polling import file_version, version_of
from training import rundir, runfile

LOG_LINES, SAMPLES, CHECKPOINTS = 200, 6, 6
WATCHED = ("metrics.jsonl", "samples.jsonl", "report.json")
CHANGES_ALWAYS = ("heartbeat", "seconds")
ENDED = ("succeeded", "failed", "cancelled", "lost")  # of a status that an earlier attempt left
CAME_BY = ("step", "total", "seconds")
# What a report's figures are called where their own names say too little.
REPORTED = {
    "kl": gettext_noop("KL to the reference, nats per answer"),
    "kl_k3": gettext_noop("The same by the k3 estimate"),
    "score": gettext_noop("Reward model’s score"),
    "score_before": gettext_noop("Reward model’s score before"),
    "scored_higher": gettext_noop("Answers that score higher than before"),
    "length": gettext_noop("Length in tokens"),
    "length_before": gettext_noop("Length in tokens before"),
    "eos_rate": gettext_noop("Ends by itself"),
    "distinct_1": gettext_noop("Distinct words"),
    "distinct_2": gettext_noop("Distinct pairs"),
    "n": gettext_noop("Answers"),
}


class RunPage:
    """One look at a run. `tables` are the charts shown as tables, `seen` what the asking page shows already."""

    def __init__(self, run: Run, *, tables: Sequence[str] = (), seen: Mapping[str, str] | None = None) -> None:
        self.run, self.tables, self.seen = run, list(tables), seen
        self.status = status_of(run)
        self.checkpoints = rundir.list_checkpoints(run.folder)
        files = [file_version(run.folder / name) for name in WATCHED]
        status = {key: value for key, value in self.status.items() if key not in CHANGES_ALWAYS}
        self.version = version_of(run.state, status, files, len(self.checkpoints), self.tables)

    def context(self) -> dict[str, Any]:
        rows = self.metrics
        samples = rundir.read_samples(self.run.folder)
        last = self.checkpoints[-1]["step"] if self.checkpoints else None
        progress = self.progress
        return {
            "may_train": self.run.project.my_role in TRAINS,
            "project": self.run.project,
            "run": self.run,
            "status": self.status,
            "progress": progress,
            "charts": self.charts,
            "concern_links": self.concerns,
            "failure": self._linked(health.remedy(self.run.error, self.run.config)) if self.run.error else None,
            "report": self.report,
            "result": result_of(self.run, self.report),
            "samples": [row for row in samples if row.get("step") == samples[-1].get("step")][:SAMPLES],
            "sample_step": samples[-1].get("step") if samples else None,
            "checkpoints": [self._checkpoint(row, rows) for row in reversed(self.checkpoints[-CHECKPOINTS:])],
            "last_checkpoint": last,
            "made_from": made_from(self.run),
            "settings": settings_of(self.run),
            "lines": log_lines(self.run.folder, max(0, self.log_length - LOG_LINES)),
            "next_line": self.log_length,
            "files": [
                name
                for name in ("metrics.jsonl", "samples.jsonl", "generations.jsonl", "report.json")
                if (self.run.folder / name).is_file()
            ],
            "version": self.version,
            "poll_url": self._poll_url(len(samples), last, progress["said"]),
            "new_samples": self._is_new("samples", len(samples)),
            "new_checkpoint": self._is_new("checkpoint", last),
            "new_said": self._is_new("said", progress["said"]),
        }

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        return rundir.read_metrics(self.run.folder)

    @cached_property
    def report(self) -> dict[str, Any] | None:
        return rundir.read_report(self.run.folder)

    @cached_property
    def log_length(self) -> int:
        return len(rundir.tail_log(self.run.folder))

    @property
    def progress(self) -> dict[str, Any]:
        """Where the run is: a share for the bar, words for the rest."""
        step = self.status.get("step") or self.run.step or 0
        total = self.status.get("total") or self.run.total or 0
        share = min(step / total, 1.0) if total else (1.0 if self.run.state == Run.State.SUCCEEDED else None)
        speed = [
            text % {"number": f"{value:,.0f}"}
            for name, text in (
                ("tokens_per_s", gettext("%(number)s tokens a second")),
                ("samples_per_s", gettext("%(number)s rows a second")),
            )
            if self.run.state != Run.State.QUEUED and (value := latest(self.metrics, name)) and value >= 1
        ]
        said = (
            gettext("%(percent)s%% done") % {"percent": int(share * 10) * 10}
            if share is not None
            else gettext(self.run.get_state_display())
        )
        return {
            "step": step,
            "total": total,
            "share": share,
            "eta": None if self.run.is_ended else self.status.get("eta_seconds"),
            "phase": "" if self.run.is_ended else self.status.get("phase") or "",
            "speed": ", ".join(speed),
            "said": said,
            "seconds": (self.report or {}).get("seconds") or self.status.get("seconds"),
        }

    @property
    def charts(self) -> list[Chart]:
        """The charts of the run's kind, each knowing whether it shows as a table and what its toggle asks for."""
        found = charts_of(self.run.kind, self.metrics, self.run.config, self._planned_steps())
        if not self.metrics and self.run.is_ended:
            return []
        return [shows_as_table(chart, self.tables) for chart in found]

    @property
    def concerns(self) -> list[dict[str, Any]]:
        found = health.concerns_of(self.run.kind, self.metrics, self.run.config, self.report)
        return [self._linked(concern) for concern in found]

    def _linked(self, concern: health.Concern | None) -> dict[str, Any]:
        """A concern and where its remedy is: the new-run page, filled in like this run but for the changed settings."""
        if concern is None:
            return {}
        pairs = [("copy", str(self.run.pk)), *[("set", f"{key}={value:g}") for key, value in concern.settings.items()]]
        href = (
            reverse("rlhf:new_run", args=[self.run.project.slug]) + "?" + urlencode(pairs) if concern.settings else ""
        )
        return {"concern": concern, "href": href}

    def _planned_steps(self) -> int | None:
        """How far the charts reach: the whole of the training, also while another phase counts its own steps."""
        params = self.run.config.get("params") or {}
        planned = params.get("steps") or params.get("max_steps")
        return planned or (self.status.get("total") if self.status.get("phase") == "train" else None) or self.run.total

    def _checkpoint(self, row: dict[str, Any], metrics: list[dict[str, Any]]) -> dict[str, Any]:
        at: dict[str, Any] = next((one for one in reversed(metrics) if one["step"] <= row["step"]), {})
        named = (("reward", "reward"), ("kl", "KL"), ("loss", "loss"), ("accuracy", "accuracy"))
        words = [f"{word} {at[name]:.3g}" for name, word in named if isinstance(at.get(name), int | float)]
        return {"step": row["step"], "bytes": row["bytes"], "words": ", ".join(words[:2])}

    def _poll_url(self, samples: int, checkpoint: int | None, said: str) -> str:
        shown = [("state", self.run.state), ("samples", samples), ("checkpoint", checkpoint), ("said", said)]
        query = urlencode([*shown, *[("table", key) for key in self.tables]])
        return reverse("rlhf:run_live", args=[self.run.project.slug, self.run.pk]) + "?" + query

    def _is_new(self, name: str, value: object) -> bool:
        """Whether the asking page shows another `name`; the first page shows everything itself."""
        return self.seen is not None and self.seen.get(name, "") != str(value)


def status_of(run: Run) -> dict[str, Any]:
    """What the run's directory says of it; of one that waits to go on, how far it came and nothing of how it ended."""
    status = rundir.read_status(run.folder)
    if run.state == Run.State.QUEUED or (status.get("state") in ENDED and not run.is_ended):
        return {name: status.get(name) for name in CAME_BY}
    return status


def log_lines(folder: Path, after: int) -> list[dict[str, str]]:
    """The log lines after the first `after`, each with the level that colors it."""
    lines = []
    for text in rundir.tail_log(folder, after):
        words = text.split(" ", 2)
        level = words[1] if len(words) > 2 and words[1] in ("warning", "warn", "error") else ""
        lines.append({"text": text, "level": level})
    return lines


def made_from(run: Run) -> list[dict[str, str]]:
    """What went into the run: models, data, and the share of simulated judgements in words."""
    parts = []
    if run.start_model:
        base = run.start_model.base
        words = (
            gettext("full weights") if base == run.start_model else gettext("adapter on %(base)s") % {"base": base.name}
        )
        parts.append(
            {
                "what": gettext("Start"),
                "name": run.start_model.name,
                "href": run.start_model.get_absolute_url(),
                "note": words,
            }
        )
    if run.reward_model:
        accuracy = figures.of(run.reward_model).accuracy
        words = gettext("%(value)s held-out accuracy") % {"value": f"{accuracy['value']:.1%}"} if accuracy else ""
        parts.append(
            {
                "what": gettext("Reward"),
                "name": run.reward_model.name,
                "href": run.reward_model.get_absolute_url(),
                "note": words,
            }
        )
    if run.snapshot:
        rows = (run.snapshot.counts.get("train") or 0) + (run.snapshot.counts.get("eval") or 0)
        what = gettext("Prompts") if run.kind in (*Run.ROLLS_OUT, *Run.WRITES, Run.Kind.EVALUATE) else gettext("Data")
        note = ngettext("%(count)s row", "%(count)s rows", rows) % {"count": f"{rows:,}"}
        note += f", {run.snapshot.content_hash[:6]}"
        parts.append({"what": what, "name": str(run.snapshot), "href": run.snapshot.get_absolute_url(), "note": note})
        if run.snapshot.withdrawn:
            withdrawn = ngettext(
                "%(count)s judgment withdrawn since", "%(count)s judgments withdrawn since", run.snapshot.withdrawn
            )
            parts[-1]["note"] += ", " + withdrawn % {"count": f"{run.snapshot.withdrawn:,}"}
        if run.snapshot.simulated_share:
            parts[-1]["simulated"] = figures.simulated_words(run.snapshot.simulated_share)
    return parts


def adapter_words(adapter: dict[str, Any]) -> str:
    """`LoRA, rank 16, α 32`: the method and the settings that it has."""
    method = adapter.get("method", "lora")
    words = {
        "r": gettext("rank"),
        "alpha": "α",
        "bits": gettext("bits"),
        "virtual_tokens": gettext("positions"),
        "bottleneck": gettext("width"),
    }
    usual = {field.name: field.default for field in dataclasses.fields(runfile.Adapter)}
    known = [name for name in runfile.compatibility.FIELDS[method] if name in words]
    shown = [f"{words[name]} {adapter.get(name, usual[name]):g}" for name in known]
    if adapter.get("dropout"):
        shown.append(gettext("dropout %(share)s") % {"share": f"{adapter['dropout']:g}"})
    if isinstance(adapter.get("targets"), list):
        shown.append(gettext("on %(layers)s") % {"layers": " ".join(adapter["targets"])})
    return ", ".join([runfile.compatibility.LABELS[method], *shown])


def settings_of(run: Run) -> dict[str, list[tuple[str, str]]]:
    """The settings in words: those that differ from the defaults first, then all of them."""
    config, kind = run.config, run.kind
    params = config.get("params") or {}
    adapter = config.get("adapter")
    usual = runfile.defaults(kind, adapter.get("method", "lora") if adapter else None)
    main = [(gettext("Method"), gettext(run.get_kind_display()))]
    if kind in ADAPTED:
        main.append((gettext("Adapter"), adapter_words(adapter) if adapter else gettext("None: all weights")))
    if reference := config.get("reference"):
        base = run.start_model.base.name if run.start_model else gettext("the base model")
        frozen = reference == "start_adapter"
        words = gettext("the start adapter, frozen") if frozen else gettext("%(name)s, adapters off") % {"name": base}
        main.append((gettext("Reference"), words))
    everything = []
    for field in dataclasses.fields(runfile.PARAMS[kind]):
        if field.name == "policies":
            continue
        value = params.get(field.name, usual.get(field.name))
        entry = (field.metadata.get("label", field.name), setting_words(value, field.metadata.get("unit", "")))
        everything.append(entry)
        if value != usual.get(field.name):
            main.append(entry)
    hardware = config.get("hardware") or {}
    everything += [
        (gettext("Seed"), str(config.get("seed", 0))),
        (gettext("Device"), str(hardware.get("device", "auto"))),
    ]
    if config.get("template"):
        everything.append((gettext("Chat template"), str(config["template"])))
    return {"main": main, "all": everything}


def setting_words(value: Any, unit: str = "") -> str:
    if value is None:
        return gettext("not set")
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, int | float):
        unit = "" if unit == "share" else unit
        text = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        return f"{text} {unit}".strip()
    return str(value)


def result_of(run: Run, report: dict[str, Any] | None) -> dict[str, Any]:
    """The report's figures in the form that fits the kind: baselines and calibration, policies, or plain numbers."""
    found = (report or {}).get("eval") or {}
    result: dict[str, Any] = {"rows": row_account(report or {})}
    if run.kind == Run.Kind.REWARD and found:
        rules = health.against_baselines(found)
        result["baselines"] = list(zip(rules, forests(rules), strict=True))
        result["calibration"] = calibration("calibration", found, title=gettext("Calibration"))
        result["ceiling"] = figures.of(run.model).ceiling if hasattr(run, "model") else None
        result["numbers"] = reward_numbers(found)
    elif policies := found.get("policies"):
        result["policies"] = policies
    else:
        result["numbers"] = [
            (gettext(REPORTED.get(name, name.replace("_", " "))), number_words(value))
            for name, value in found.items()
            if isinstance(value, int | float | dict) and number_words(value)
        ]
    return result


def reward_numbers(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What a reward model's report says besides accuracy: of each rated aspect, and of an ensemble's doubt."""
    numbers = []
    for name, each in (found.get("aspects") or {}).items():
        words = gettext("%(error)s, against %(mean)s of always saying the mean")
        words %= {"error": f"{each['squared_error']:.3g}", "mean": f"{each['of_the_mean']:.3g}"}
        numbers.append((gettext("%(name)s: squared error") % {"name": name}, words))
        if each.get("correlation") is not None:
            numbers.append(
                (
                    gettext("%(name)s: correlation") % {"name": name},
                    gettext("%(correlation)s over %(n)s answers")
                    % {"correlation": f"{each['correlation']:.2f}", "n": f"{each['n']:,}"},
                )
            )
    if doubt := found.get("ensemble"):
        numbers.append(
            (
                gettext("members"),
                gettext("%(members)s, of two minds on %(split)s of the pairs")
                % {"members": doubt["members"], "split": f"{doubt['split']:.1%}"},
            )
        )
        if doubt.get("sure"):
            numbers.append((gettext("right where they agree"), number_words(doubt["sure"])))
    return numbers


def number_words(value: Any) -> str:
    """A plain number, or an estimate with its interval."""
    if isinstance(value, dict):
        if not isinstance(value.get("value"), int | float):
            return ""
        text = f"{value['value']:.4g}"
        if value.get("low") is None:
            return text
        ends = {"value": text, "low": f"{value['low']:.4g}", "high": f"{value['high']:.4g}"}
        return gettext("%(value)s (%(low)s to %(high)s)") % ends
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def row_account(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Per split: rows read, used, cut short and left out, with the reasons."""
    account = []
    for split, rows in (report.get("rows") or {}).items():
        dropped = rows.get("dropped") or {}
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in dropped.items() if count)
        account.append({"split": split, **rows, "left_out": sum(dropped.values()), "reasons": reasons})
    return account
