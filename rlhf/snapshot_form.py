"""The form of a snapshot's recipe."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cached_property
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation import exporting
from annotation.cleaning import CleaningError, strict_json
from annotation.models import Kind, Project
from annotation.questions import questions_of
from rlhf.forms import Styled
from rlhf.models import Snapshot
from rlhf.snapshots import SnapshotError

AGGREGATION_WORDS = {
    "majority": _("Majority"),
    "strength": _("Mean strength"),
    "each": _("Every judgment a row"),
    "posterior": _("Weighed by annotator skill"),
}
NAMES = {Kind.DEMONSTRATION: "demos", Kind.PREFERENCE: "prefs", Kind.RANKING: "prefs", Kind.RATING: "ratings"}
# Which field of the form a key of the recipe is asked in.
PLACES = {
    "split": "split_by",
    "split.eval_share": "eval_share",
    "split.seed": "seed",
    "split.key": "split_key",
    "split.at": "split_at",
    "split.near": "near",
}


class SnapshotForm(Styled):
    """Name, type and recipe; what it would give is counted while it is filled in."""

    name = forms.SlugField(
        max_length=80, label=_("Name"), help_text=_("Cutting the same name again makes its next version")
    )
    type = forms.ChoiceField(label=_("Type"))
    aggregation = forms.ChoiceField(
        choices=[(one, AGGREGATION_WORDS.get(one, one)) for one in exporting.AGGREGATIONS], label=_("Combine by")
    )
    min_agreement = forms.FloatField(
        min_value=0,
        max_value=1,
        initial=0,
        label=_("Agreement at least"),
        help_text=_("Share of a task's votes, 0 to 1"),
    )
    split_by = forms.ChoiceField(
        choices=[
            ("prompt", _("By prompt, at random")),
            ("time", _("By time")),
            ("metadata", _("By a key of the metadata")),
        ],
        label=_("Split"),
    )
    eval_share = forms.FloatField(
        min_value=0, max_value=0.9, initial=0.1, label=_("Held out"), help_text=_("Share of the prompts, 0 to 0.9")
    )
    seed = forms.IntegerField(min_value=0, initial=0, label=_("Seed"), help_text=_("Same seed, same split"))
    split_key = forms.CharField(
        required=False, initial="split", label=_("Metadata key"), help_text=_("For a split by metadata")
    )
    split_eval = forms.CharField(
        required=False, initial="eval", label=_("Held out when it is"), help_text=_("For a split by metadata")
    )
    split_at = forms.DateTimeField(
        required=False,
        label=_("Held out from"),
        help_text=_("For a split by time"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    since = forms.DateTimeField(
        required=False,
        label=_("Judgments from"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    until = forms.DateTimeField(
        required=False,
        label=_("Judgments until"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    guideline = forms.IntegerField(
        required=False, min_value=1, label=_("Guidelines version"), help_text=_("Only judgments made under it")
    )
    exclude_guidelines = forms.CharField(
        required=False, label=_("Leave out guidelines versions"), help_text=_("Numbers, with commas")
    )
    exclude_flags = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label=_("Of flagged tasks that are kept, leave out")
    )
    exclude_annotators = forms.CharField(
        required=False, label=_("Leave out annotators"), help_text=_("Names, with commas")
    )
    where = forms.CharField(
        required=False, label=_("Only tasks whose metadata say"), help_text=_('An object, such as {"lang": "en"}')
    )
    threshold = forms.FloatField(
        required=False, label=_("Good from"), help_text=_("Mean rating from which an answer is good")
    )
    gap = forms.FloatField(
        required=False, min_value=0, label=_("Better by"), help_text=_("Difference of mean ratings that makes a pair")
    )
    aspect = forms.ChoiceField(
        required=False, label=_("Rated on"), help_text=_("What the two figures before are about")
    )
    rulings = forms.ChoiceField(
        required=False,
        choices=[("prefer", _("Count instead of the votes")), ("ignore", _("Do not count"))],
        label=_("What reviewers settled"),
    )
    ties = forms.ChoiceField(
        required=False, label=_("Ties"), choices=[("drop", _("Leave out")), ("half", _("Keep as half and half"))]
    )
    license = forms.CharField(
        required=False, max_length=80, label=_("License"), help_text=_("Such as cc-by-4.0; written on the card")
    )
    intended_use = forms.CharField(
        required=False, max_length=2000, label=_("Intended use"), help_text=_("One sentence, written on the card")
    )
    near = forms.BooleanField(required=False, initial=True, label=_("Keep nearly the same prompts on one side"))
    deduplicate = forms.BooleanField(required=False, label=_("Leave out duplicates"))
    no_edits = forms.BooleanField(required=False, label=_("Leave out improved answers"))
    drop_flagged = forms.BooleanField(required=False, initial=True, label=_("Leave out flagged tasks"))

    def __init__(self, *args: Any, project: Project, like: Snapshot | None = None, **kwargs: Any) -> None:
        self.project = project
        types = [one for one in exporting.types_of(project.kind) if one in Snapshot.Type.values]
        usual: dict[str, Any] = {"name": NAMES[Kind(project.kind)], "type": types[0] if types else ""}
        kwargs.setdefault("initial", usual | (_initial_from(like) if like else {}))
        super().__init__(*args, **kwargs)
        self._choose("type", [(one, gettext(Snapshot.Type(one).label)) for one in types])
        for name in ("threshold", "gap", "aspect") if project.kind != Kind.RATING else ("ties",):
            del self.fields[name]
        asked = questions_of(project)
        self._choose("exclude_flags", [(flag["name"], flag["label"]) for flag in asked["flags"]])
        aspects = [(aspect["name"], aspect["label"]) for aspect in asked["aspects"]]
        self._choose("aspect", [("", gettext("All aspects together")), *aspects])
        if project.kind != Kind.PREFERENCE:
            del self.fields["no_edits"]

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        """Offer these, or no such field where there is nothing to choose."""
        field = self.fields.get(name)
        if isinstance(field, forms.ChoiceField):
            field.choices = choices
            if not choices:
                del self.fields[name]

    def clean_exclude_guidelines(self) -> list[int]:
        try:
            return [int(number) for number in _listed(self.cleaned_data["exclude_guidelines"])]
        except ValueError:
            raise forms.ValidationError(gettext("Give numbers of versions with commas, such as 1, 2.")) from None

    def clean_where(self) -> dict[str, Any]:
        try:
            found = strict_json(self.cleaned_data["where"] or "{}")
        except CleaningError:
            found = None
        if not isinstance(found, dict):
            raise forms.ValidationError(gettext('Give an object of keys and values, such as {"lang": "en"}.'))
        return found

    @cached_property
    def chosen_type(self) -> str:
        return str(self["type"].value() or "")

    def recipe(self) -> dict[str, Any]:
        """The recipe as `rlhf.snapshots` takes it; of an unsent form, its defaults."""
        get = (
            self.cleaned_data.get if self.is_bound else lambda name: self[name].value() if name in self.fields else None
        )
        split: dict[str, Any] = {
            "by": "prompt",
            "eval_share": float(get("eval_share") or 0),
            "seed": int(get("seed") or 0),
        }
        if get("split_by") == "metadata":
            split = {"by": "metadata", "key": get("split_key") or "split", "eval": get("split_eval") or "eval"}
        elif get("split_by") == "time":
            split = {"by": "time", "at": _iso(get("split_at"))}
        split["near"] = bool(get("near"))
        recipe: dict[str, Any] = {
            "aggregation": get("aggregation") or "majority",
            "min_agreement": float(get("min_agreement") or 0),
            "flags": "drop" if get("drop_flagged") else "keep",
            "ties": get("ties") or "drop",
            "rulings": get("rulings") or "prefer",
            "deduplicate": bool(get("deduplicate")),
            "improved": "drop" if get("no_edits") else "keep",
            "split": split,
        }
        versions, where = get("exclude_guidelines") or [], get("where") or {}
        more = {
            "since": _iso(get("since")),
            "until": _iso(get("until")),
            "guideline": get("guideline"),
            "metadata": where if isinstance(where, dict) else strict_json(where),
            "exclude_guidelines": versions if isinstance(versions, list) else [int(one) for one in _listed(versions)],
            "exclude_annotators": _listed(get("exclude_annotators")),
            "exclude_flags": list(get("exclude_flags") or []),
            "aspect": get("aspect"),
            "threshold": _number(get("threshold")),
            "gap": _number(get("gap")),
            "license": get("license"),
            "intended_use": get("intended_use"),
        }
        return recipe | {key: value for key, value in more.items() if value not in (None, "", [], {})}

    def refuse(self, error: SnapshotError) -> None:
        """Put the complaint at the field it is about."""
        name = PLACES.get(error.field, error.field)
        if not self.is_bound:
            self.refused = str(error)
            return
        self.add_error(name if name in self.fields else None, str(error))

    refused = ""  # why the recipe of an unsent form gives nothing

    @property
    def problems(self) -> list[str]:
        """Every complaint in one list, each with its field's label."""
        if not self.is_bound:
            return [self.refused] if self.refused else []
        found = []
        for name, errors in self.errors.items():
            label = f"{self.fields[name].label}: " if name in self.fields else ""
            found += [f"{label}{text}" for text in errors]
        return found

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in ("name", "type", "aggregation", "min_agreement", "eval_share", "seed")]

    @property
    def more(self) -> list[forms.BoundField]:
        names: tuple[str, ...] = ("ties", "threshold", "gap", "aspect", "rulings", "since", "until", "guideline")
        names += ("exclude_guidelines", "exclude_annotators", "exclude_flags", "where")
        names += ("split_by", "split_at", "split_key", "split_eval", "license", "intended_use")
        return [self[name] for name in names if name in self.fields]

    @property
    def switches(self) -> list[forms.BoundField]:
        return [self[name] for name in ("drop_flagged", "near", "deduplicate", "no_edits") if name in self.fields]


def _listed(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)


def _initial_from(like: Snapshot) -> dict[str, Any]:
    recipe = dict(like.recipe)
    split = recipe.pop("split", {})
    initial: dict[str, Any] = {"name": like.name, "type": like.type, "split_by": split.get("by", "prompt")}
    initial |= {key: split[key] for key in ("eval_share", "seed") if key in split}
    initial["near"] = split.get("near", False)  # a recipe from before the rule was cut without it
    if split.get("by") == "metadata":
        initial |= {"split_key": split.get("key"), "split_eval": split.get("eval")}
    if split.get("by") == "time":
        initial["split_at"] = split.get("at")
    kept: tuple[str, ...] = (
        "aggregation",
        "ties",
        "min_agreement",
        "since",
        "until",
        "guideline",
        "threshold",
        "gap",
        "aspect",
        "rulings",
        "exclude_flags",
        "deduplicate",
    )
    kept += ("license", "intended_use")
    initial |= {key: recipe[key] for key in kept if key in recipe}
    initial["exclude_guidelines"] = ", ".join(map(str, recipe.get("exclude_guidelines") or []))
    initial["where"] = json.dumps(recipe["metadata"], ensure_ascii=False) if recipe.get("metadata") else ""
    initial["exclude_annotators"] = ", ".join(recipe.get("exclude_annotators") or [])
    initial["no_edits"] = recipe.get("improved") == "drop"
    return initial | {"drop_flagged": recipe.get("flags", "drop") == "drop"}
