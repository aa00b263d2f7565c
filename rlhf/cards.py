"""Dataset cards: what a snapshot's README.md says, in the form that the Hugging Face hub reads."""

from __future__ import annotations

from typing import Any

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
WORDS = {
    "sft": ("Demonstrations", "One answer per row, written or approved by a person."),
    "preference": ("Preferences", "Two answers per row; people preferred `chosen` over `rejected`."),
    "binary": ("Binary judgements", "One answer per row, with whether people accepted it."),
    "rating": ("Ratings", "One answer per row, with the mean rating of each aspect."),
}
COLUMNS = {
    "prompt": "the conversation so far, as chat messages",
    "completion": "the answer, as one assistant message",
    "chosen": "the preferred answer, as one assistant message",
    "rejected": "the other answer, as one assistant message",
    "margin": "how clearly it was preferred",
    "agreement": "share of the judges who agree with the outcome",
    "weight": "how much the row counts in training",
    "task_id": "the task in Hone that was judged",
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
        *_warning(manifest),
        f"- Rows: {counts['train']} train, {counts['eval']} eval; every row of one prompt is in one split",
        f"- Judgements used: {counts['annotations']} by {counts['annotators']} annotators",
        f"- Content hash: `{manifest['content_hash']}`",
        "",
        "## Columns",
        "",
        *(f"- `{name}`: {COLUMNS.get(name, 'mean rating of this aspect')}" for name in columns),
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
        "license: other",
        "license_name: unstated",
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


def _warning(manifest: dict[str, Any]) -> list[str]:
    share = manifest["simulated_share"]
    if not share:
        return []
    return [f"**{share:.0%} of its judgements were made by simulated raters, not by people.**", ""]
