"""Model cards: what the README.md beside trained weights says, in the form that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf.models import Model, Run, Snapshot


def write(run: Run, folder: Path, *, name: str, report: dict[str, Any]) -> None:
    """Put the card beside the weights, in the place of the form that PEFT leaves to be filled in."""
    (folder / "README.md").write_text(model_card(run, name=name, report=report), encoding="utf-8")


def model_card(run: Run, *, name: str, report: dict[str, Any]) -> str:
    """How a model was made, from which judgements, how it did, and whether simulated people judged."""
    adapter = run.config.get("adapter") or {}
    kind = f"{run.get_kind_display()}, {adapter['method']} adapter" if adapter else run.get_kind_display()
    snapshots = _snapshots_behind(run)
    lines = [
        "---",
        f"library_name: {'peft' if adapter else 'transformers'}",
        "tags:",
        "- hone",
        f"- {run.kind}",
        *(["- synthetic"] if any(each.simulated_share for each in snapshots) else []),
        "---",
        "",
        f"# {name}",
        "",
        f"{kind}, trained with Hone by the run {run.name} of project {run.project.slug}.",
        "",
        *_warning(snapshots),
        *(_model_line("Starts from", run.start_model)),
        *(_model_line("Learned from the scores of", run.reward_model)),
        *(f"- Judgements: {each}, content hash `{each.content_hash}`" for each in snapshots),
        "",
        "## Held out",
        "",
        *_figures(report.get("eval") or {}),
        "",
        "`hone.json` says what it was trained from, by sha256; the site's lineage page names the judgements.",
    ]
    return "\n".join(lines) + "\n"


def _snapshots_behind(run: Run) -> list[Snapshot]:
    """The run's own snapshot, that of its reward model and those of the models it started from, each once."""
    found: list[Snapshot] = []
    waiting: list[Run | None] = [run]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if one is None or one.pk in seen:
            continue
        seen.add(one.pk)
        if one.snapshot is not None and one.snapshot not in found:
            found.append(one.snapshot)
        waiting += [model.run for model in (one.reward_model, one.start_model) if model is not None]
    return found


def _warning(snapshots: list[Snapshot]) -> list[str]:
    shares = [each.simulated_share for each in snapshots]
    if not any(shares):
        return []
    all_of_them = "All" if min(shares) >= 1 else "Some"
    return [f"**{all_of_them} of the judgements behind it were made by simulated raters, not by people.**", ""]


def _model_line(words: str, model: Model | None) -> list[str]:
    return [f"- {words} {model.name}, sha256 `{model.sha256}`"] if model else []


def _figures(found: dict[str, Any]) -> list[str]:
    """One line a figure; an estimate with its interval."""
    lines = []
    for key, value in found.items():
        title = key.replace("_", " ").capitalize()
        if isinstance(value, dict) and value.get("value") is not None and value.get("low") is not None:
            of = f", n {value['n']}" if value.get("n") else ""
            lines.append(f"- {title}: {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]{of}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            lines.append(f"- {title}: {value:.4g}")
    return lines or ["Nothing was held out."]
