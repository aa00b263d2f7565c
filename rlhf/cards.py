"""Dataset cards: what a snapshot's README.md says, in the form that the Hugging Face hub reads."""

from __future__ import annotations

import json
from typing import Any

from annotation.leaks import Leak
from rlhf.figures import simulated_percent

# Of the hub's identifiers those that data sets are mostly under.
LICENSES = {
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odc-by"),
    *("odbl", "pddl", "cdla-permissive-2.0", "cdla-sharing-1.0", "bsd-3-clause", "unknown"),
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
WORDS = {
    "sft": ("Demonstrations", "One answer per row, written or approved by a person."),
    "preference": ("Preferences", "Two answers per row; people preferred `chosen` over `rejected`."),
    "binary": ("Binary judgements", "One answer per row, with whether people accepted it."),
    "rating": ("Ratings", "One answer per row, with the mean rating of each aspect."),
    "ranking": ("Rankings", "Several answers per row, each with its place; equal places are ties."),
}
COLUMNS = {
    "prompt": "the conversation so far, as chat messages",
    "completion": "the answer, as one assistant message",
    "chosen": "the preferred answer, as one assistant message",
    "rejected": "the other answer, as one assistant message",
    "responses": "the answers, as texts",
    "ranks": "the place of each answer in the order of `responses`, 1 the best; equal numbers are ties",
    "margin": "how clearly it was preferred",
    "agreement": "share of the judges who agree with the outcome",
    "weight": "how much the row counts in training",
    "task_id": "the task in Hone that was judged",
    "posterior": "how likely the chosen answer is the better one, by how far each judge can be relied on",
    "label": "whether people accepted the answer",
}


def dataset_card(manifest: dict[str, Any], columns: list[str]) -> str:
    """The README.md of a snapshot; it depends on the manifest alone, so equal cuts have equal cards."""
    title, meaning = WORDS[manifest["kind"]]
    counts = manifest["counts"]
    slugs = ", ".join(project["slug"] for project in manifest["projects"])
    lines = [
        *_front_matter(manifest, title, slugs),
        f"# {title} from {slugs}",
        "",
        f"{meaning} Cut with Hone {manifest['hone_version']}; never edited, only superseded.",
        "",
        *_warnings(manifest),
        f"- Rows: {counts['train']} train, {counts['eval']} eval; {_sides(manifest['recipe'])}",
        f"- Judgements used: {counts['annotations']} by {counts['annotators']} annotators",
        f"- Content hash: `{manifest['content_hash']}`",
        "",
        "## Columns",
        "",
        *(f"- `{name}`: {COLUMNS.get(name, 'mean rating of this aspect')}" for name in columns),
        "",
        *_statistics(manifest.get("statistics") or {}, counts),
        "## Intended use",
        "",
        manifest["recipe"].get("intended_use") or "Not stated by those who cut it.",
        "",
        "## Left out",
        "",
        *([f"- {reason}: {n}" for reason, n in sorted(counts["left_out"].items())] or ["Nothing."]),
        "",
        "The recipe, the annotations by id and revision, and the sha256 of each file are in `manifest.json`.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(manifest: dict[str, Any], title: str, slugs: str) -> list[str]:
    counts = manifest["counts"]
    total = counts["train"] + counts["eval"]
    size = next((name for limit, name in SIZES if total < limit), "n>1M")
    splits = [name for name in ("train", "eval") if counts[name]] or ["train"]
    return [
        "---",
        f'pretty_name: "{title} from {slugs}"',
        *_license(manifest["recipe"].get("license") or ""),
        "task_categories:",
        "- text-generation",
        "tags:",
        "- hone",
        f"- {manifest['kind']}",
        *(["- synthetic"] if manifest["simulated_share"] else ["- human-feedback"]),
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(line for name in splits for line in (f"  - split: {name}", f"    path: {name}.parquet")),
        "---",
        "",
    ]


def _license(name: str) -> list[str]:
    """The hub's own identifier where it is one; any other words are its `other` with a name."""
    if name.lower() in LICENSES:
        return [f"license: {name.lower()}"]
    return ["license: other", f"license_name: {json.dumps(name or 'unstated', ensure_ascii=False)}"]


def _sides(recipe: dict[str, Any]) -> str:
    together = "every row of one prompt is in one split"
    return f"{together}, and of prompts that are nearly the same" if recipe["split"].get("near") else together


def _statistics(told: dict[str, Any], counts: dict[str, Any]) -> list[str]:
    """Agreement, how the work was shared out, and biases to know of; nobody's name and nothing about who they are."""
    lines = []
    if told.get("alpha") is not None:
        lines.append(f"- Agreement between judges, Krippendorff's α: {told['alpha']:.2f}")
    if told.get("mean_agreement") is not None:
        lines.append(f"- Mean share of the votes for the outcome: {told['mean_agreement']:.0%}")
    if each := told.get("judgements_per_annotator"):
        lines.append(
            f"- Judgements per annotator: {each['least']} to {each['most']}, median {each['median']:g}; "
            f"most by one person: {told['most_by_one']:.0%}"
        )
    if side := told.get("first_shown_wins"):
        lines.append(f"- Side: the answer shown first won {side['share']:.1%} of {side['n']} verdicts")
    if length := told.get("longer_wins"):
        lines.append(f"- Length: the longer answer won {length['share']:.1%} of {length['n']} pairs of unequal length")
    if told.get("mean_characters") is not None:
        lines.append(f"- Mean length of an answer: {told['mean_characters']:.0f} characters")
    return ["## Agreement and biases", "", *(lines or ["Nothing to tell."]), ""]


def _warnings(manifest: dict[str, Any]) -> list[str]:
    found = []
    if share := manifest["simulated_share"]:
        percent = simulated_percent(share)
        found += [f"**{percent}% of its judgements were made by simulated raters, not by people.**", ""]
    if leak := (manifest.get("statistics") or {}).get("leak"):
        found += [f"**{Leak(**leak)}**", ""]
    return found
