"""Snapshots: immutable datasets cut from a project's judgements, named by their content.

A recipe says which judgements count and how they become rows. Its keys, all optional:
`split` {"by": "prompt", "eval_share": 0.1, "seed": 0} or {"by": "metadata", "key": "split", "eval": "test"};
`aggregation` majority | strength | each; `min_agreement` 0..1; `flags` drop | keep; `rulings` prefer | ignore
(what reviewers settled, over the votes); `exclude_annotators` [names];
`metadata` {key: value that a task must have}; `since`, `until` (ISO times); `guideline` (number); `threshold` (binary).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.text import slugify

from annotation import exporting
from annotation.exporting import ExportError, Outcome
from annotation.models import Annotation, Project, User
from rlhf import prompts, snapshot_files
from rlhf.models import Snapshot

DEFAULTS: dict[str, Any] = {"aggregation": "majority", "min_agreement": 0.0, "flags": "drop", "rulings": "prefer"}
CHOICES = {name: exporting.CHOICES[name] for name in ("aggregation", "flags", "rulings")}
MORE = ("exclude_annotators", "metadata", "since", "until", "guideline", "threshold")
SPLITS: dict[str, dict[str, Any]] = {
    "prompt": {"by": "prompt", "eval_share": 0.1, "seed": 0},
    "metadata": {"by": "metadata", "key": "split", "eval": "eval"},
}
LEAK = "prompt is in the eval split"


class SnapshotError(ValueError):
    """A snapshot that cannot be cut, in one sentence; `field` is the key of the recipe to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass
class Draft:
    """What a recipe gives, before anything is written."""

    splits: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"train": [], "eval": []})
    used: list[tuple[int, int]] = field(default_factory=list)  # ids and revisions of the judgements
    rulings: list[int] = field(default_factory=list)  # ids of the adjudications that counted instead of votes
    left_out: Counter[str] = field(default_factory=Counter)


def cut(
    project: Project, *, name: str, type: str, recipe: dict[str, Any] | None = None, by: User | None = None
) -> Snapshot:
    """The next version of `name`; its latest version when that has the very same content. SnapshotError otherwise."""
    if not name or slugify(name) != name.lower() or len(name) > 80:
        raise SnapshotError("name", "A name is letters, digits, hyphens and underscores, at most 80.")
    whole = check_recipe(recipe or {})
    draft = _draft(project, type, whole)
    counts, simulated_share = _count(draft)
    if not draft.splits["train"]:
        left_out = ", ".join(f"{count} {reason}" for reason, count in draft.left_out.items())
        raise SnapshotError("recipe", f"No rows to train on{': left out ' + left_out if left_out else ''}.")
    facts = {"kind": type, "counts": counts, "recipe": whole, "simulated_share": simulated_share}
    facts |= {"projects": [{"slug": project.slug, "kind": project.kind}], "annotations": sorted(draft.used)}
    facts["adjudications"] = sorted(draft.rulings)
    folder, digest = snapshot_files.write(facts, draft.splits, exporting.schema(project, type))
    fields: dict[str, Any] = {"type": type, "recipe": whole, "counts": counts, "content_hash": digest, "created_by": by}
    fields |= {"path": f"snapshots/{folder.name}", "size": snapshot_files.size_of(folder)}
    return _store(project, name, fields | {"simulated_share": simulated_share})


def preview(project: Project, type: str, recipe: dict[str, Any] | None = None) -> dict[str, Any]:
    """What `cut` would count, storing nothing.

    `{"train", "eval", "annotations", "annotators", "left_out": {reason: tasks}, "simulated_share"}`.
    """
    draft = _draft(project, type, check_recipe(recipe or {}))
    counts, simulated_share = _count(draft)
    return counts | {"simulated_share": simulated_share}


def check_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with every default written out; SnapshotError names the first bad key."""
    for key in recipe:
        if key not in (*DEFAULTS, *MORE, "split"):
            known = ", ".join(("split", *DEFAULTS, *MORE))
            raise SnapshotError(key, f"{key} is not a key of a recipe; known: {known}.")
    whole = DEFAULTS | {key: value for key, value in recipe.items() if value is not None}
    for key, allowed in CHOICES.items():
        if whole[key] not in allowed:
            raise SnapshotError(key, f"{key} must be one of {', '.join(allowed)}, not {whole[key]!r}.")
    _number(whole, "min_agreement", 0, 1)
    _number(whole, "threshold", -1e9, 1e9)
    for key in ("since", "until"):
        if key in whole:
            _moment(whole[key], key)
    if not isinstance(whole.get("metadata", {}), dict):
        raise SnapshotError("metadata", "metadata must be an object of keys and values.")
    names = whole.get("exclude_annotators", [])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise SnapshotError("exclude_annotators", "exclude_annotators must be a list of names.")
    if type(whole.get("guideline", 1)) is not int:
        raise SnapshotError("guideline", "guideline must be the number of a version of the guidelines.")
    return whole | {"split": _check_split(whole.get("split"))}


def _check_split(split: Any) -> dict[str, Any]:
    split = {"by": "prompt"} if split is None else split
    if not isinstance(split, dict) or split.get("by", "prompt") not in SPLITS:
        raise SnapshotError("split", f"split must be an object whose by is one of {', '.join(SPLITS)}.")
    defaults = SPLITS[split.get("by", "prompt")]
    for key in split:
        if key not in defaults:
            raise SnapshotError(f"split.{key}", f"split.{key} has no meaning here; known: {', '.join(defaults)}.")
    whole = defaults | split
    if whole["by"] == "metadata":
        if not isinstance(whole["key"], str):
            raise SnapshotError("split.key", "split.key must be the name of a key of the tasks' metadata.")
        return whole
    _number(whole, "eval_share", 0, 0.9, where="split.")
    if type(whole["seed"]) is not int:
        raise SnapshotError("split.seed", "split.seed must be a whole number.")
    return whole


def _number(values: dict[str, Any], key: str, low: float, high: float, where: str = "") -> None:
    value = values.get(key, low)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SnapshotError(where + key, f"{where}{key} must be a number from {low} to {high}, not {value!r}.")


def _moment(value: Any, key: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise SnapshotError(key, f"{key} must be a time such as 2026-01-31T12:00, not {value!r}.") from None
    return moment if moment.tzinfo else timezone.make_aware(moment)


def _draft(project: Project, type: str, recipe: dict[str, Any]) -> Draft:
    options = {key: value for key, value in recipe.items() if key != "split"}
    options |= {key: _moment(recipe[key], key) for key in ("since", "until") if key in recipe}
    if "exclude_annotators" in options:
        options["exclude_annotators"] = tuple(options["exclude_annotators"])
    try:
        found = list(exporting.outcomes(project, type, **options))
    except ExportError as error:
        raise SnapshotError("type", str(error)) from error
    draft = Draft()
    keys = {outcome.task_id: prompts.key(outcome.prompt) for outcome in found}
    held_out = {keys[outcome.task_id] for outcome in found if _is_eval(outcome, keys[outcome.task_id], recipe["split"])}
    for outcome in found:
        if outcome.left_out:
            draft.left_out[outcome.left_out] += 1
            continue
        is_eval = _is_eval(outcome, keys[outcome.task_id], recipe["split"])
        if not is_eval and keys[outcome.task_id] in held_out:
            draft.left_out[LEAK] += 1  # the split by metadata would let a prompt be learned and then tested
            continue
        draft.splits["eval" if is_eval else "train"] += outcome.rows
        draft.used += outcome.used
        draft.rulings += outcome.rulings
    return draft


def _is_eval(outcome: Outcome, key: str, split: dict[str, Any]) -> bool:
    if split["by"] == "metadata":
        return bool(outcome.metadata.get(split["key"]) == split["eval"])
    drawn = hashlib.sha256(f"split:{split['seed']}:{key}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") < split["eval_share"] * 2**64  # by hash: a prompt keeps its side as data grows


def _count(draft: Draft) -> tuple[dict[str, Any], float]:
    people: Counter[int] = Counter()
    simulated = 0
    for batch in _batches([pk for pk, _ in draft.used], 5000):
        rows = Annotation.objects.filter(pk__in=batch).values_list("annotator_id", "annotator__is_simulated")
        for annotator, is_simulated in rows:
            people[annotator] += 1
            simulated += is_simulated
    counts: dict[str, Any] = {split: len(rows) for split, rows in draft.splits.items()}
    counts |= {
        "annotations": len(draft.used),
        "annotators": len(people),
        "left_out": dict(sorted(draft.left_out.items())),
    }
    return counts, simulated / len(draft.used) if draft.used else 0.0


def _batches(ids: list[int], size: int) -> Iterable[list[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _store(project: Project, name: str, fields: dict[str, Any]) -> Snapshot:
    versions = Snapshot.objects.filter(project=project, name=name)
    latest = versions.order_by("-version").first()
    if latest and latest.content_hash == fields["content_hash"]:
        return latest
    for last_try in (False, False, True):
        number = (versions.aggregate(last=Max("version"))["last"] or 0) + 1
        try:
            with transaction.atomic():
                return Snapshot.objects.create(project=project, name=name, version=number, **fields)
        except IntegrityError:  # somebody cut the same name at the same moment
            if last_try:
                raise
    raise AssertionError("unreachable")
