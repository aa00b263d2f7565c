"""The new-run form: built from the engine's own settings, so that a setting is described in one place."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from annotation.models import Project
from rlhf.forms import Styled, model_words, policies_of, snapshot_words
from rlhf.models import Model, Run, Snapshot
from rlhf.runs import ADAPTED, READS, describe
from training import runfile
from training.runfile import RunFileError, compatibility

# What a person chooses by: what they have. The rest of the engine's kinds start from other pages.
METHODS = {
    "sft": (gettext_noop("Imitate demonstrations"), gettext_noop("Needs answers")),
    "reward": (gettext_noop("Learn what people prefer"), gettext_noop("Needs pairs")),
    "dpo": (gettext_noop("Preferences, no reward model"), gettext_noop("Needs pairs")),
    "kto": (gettext_noop("Single answers, wanted or not"), gettext_noop("Needs judged answers")),
    "ppo": (gettext_noop("Reward model and rollouts"), gettext_noop("Needs a reward model")),
    "grpo": (gettext_noop("Answers judge one another"), gettext_noop("Needs a reward model or a rule")),
    "rloo": (gettext_noop("The same, each against the rest"), gettext_noop("Needs a reward model or a rule")),
}
KINDS = [kind for kind in runfile.PARAMS if kind in METHODS and kind in ADAPTED]
# Settings that a person looks at first; the others fold away by their group.
FIRST = {
    "sft": ("learning_rate", "epochs", "batch_size", "max_length", "max_steps", "loss_on"),
    "reward": ("learning_rate", "epochs", "batch_size", "max_length", "max_steps", "margin"),
    "dpo": ("learning_rate", "epochs", "batch_size", "beta", "loss", "max_length"),
    "kto": ("learning_rate", "epochs", "batch_size", "beta", "desirable_weight", "undesirable_weight"),
    "ppo": ("learning_rate", "steps", "rollout_batch", "kl_target", "beta", "max_new_tokens"),
    "grpo": ("learning_rate", "steps", "prompts_per_step", "samples", "beta", "rule"),
    "rloo": ("learning_rate", "steps", "prompts_per_step", "samples", "beta", "rule"),
}
# What is trained with each adapter as it comes, in two words.
SHAPES = {
    **dict.fromkeys(("lora", "dora", "rslora"), gettext_noop("rank 16")),
    "qlora": gettext_noop("rank 16 on 4 bits"),
    "adalora": gettext_noop("rank 16, falling"),
    "ia3": gettext_noop("one scale a channel"),
    **dict.fromkeys(("prefix", "prompt", "p_tuning"), gettext_noop("20 positions")),
    **dict.fromkeys(("houlsby", "pfeiffer"), gettext_noop("width 64")),
}


def adapters_of(kind: str) -> list[tuple[str, str]]:
    """(value, label) of what a run of `kind` can train on this machine, LoRA and all weights first."""
    found = [("lora", "LoRA"), ("full", gettext("Full"))]
    found += [(method, label) for method, label in compatibility.LABELS.items() if method != "lora"]
    return [
        (method, label)
        for method, label in found
        if compatibility.refusal(kind, None if method == "full" else method) is None
        and (method != "qlora" or compatibility.can_quantise())
    ]


def adapter_fields(method: str) -> tuple[str, ...]:
    """The settings of an adapter that the form asks for."""
    return compatibility.FIELDS.get(method, ())


def shape_of(start: Model, method: str) -> dict[str, Any]:
    """The adapter as which the adapter `start` goes on; RunFileError where `method` is another."""
    try:
        saved = compatibility.saved_adapter(start.folder)
    except (OSError, ValueError):
        told = gettext("has no readable adapter_config.json: %(folder)s") % {"folder": start.folder}
        raise RunFileError("start_adapter", told) from None
    if reason := compatibility.continuation_refusal(saved["method"]):
        raise RunFileError("start_adapter", reason)
    if method == saved["method"]:
        return saved
    if (method, saved["method"]) == ("qlora", "lora"):  # the same weights over a base in fewer bits
        return saved | {"method": method}
    label = compatibility.LABELS[saved["method"]]
    told = gettext("must be %(label)s, as which %(name)s goes on; or start from its base")
    raise RunFileError("adapter", told % {"label": label, "name": start.name})


class RunForm(Styled):
    """One kind and adapter at a time; the fields after the inputs follow from those two."""

    kind = forms.ChoiceField(widget=forms.RadioSelect)
    adapter = forms.ChoiceField(
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": _("This method cannot train that: choose LoRA.")},
    )
    name = forms.CharField(required=False, max_length=80, label=_("Name"), help_text=_("Empty: the next free one"))
    start_model = forms.ModelChoiceField(queryset=Model.objects.none(), label=_("Start from"))
    reward_model = forms.ModelChoiceField(queryset=Model.objects.none(), label=_("Reward model"))
    snapshot = forms.ModelChoiceField(queryset=Snapshot.objects.none(), label=_("Snapshot"))
    template = forms.ChoiceField(
        choices=[("", _("The model's own")), *[(name, name) for name in ("plain", "chatml")]],
        required=False,
        label=_("Chat template"),
        help_text=_("Needed when the start model brings none"),
    )
    seed = forms.IntegerField(
        min_value=0, max_value=2**32 - 1, initial=0, label=_("Seed"), help_text=_("Same seed, same run on a CPU")
    )

    def __init__(self, *args: Any, project: Project, kind: str, adapter: str, **kwargs: Any) -> None:
        self.project, self.run_kind, self.method = project, kind, adapter
        self.config: dict[str, Any] = {}
        super().__init__(*args, **kwargs)
        self._choose_inputs(kind)
        usual = runfile.defaults(kind, None if adapter == "full" else adapter)
        self._add(runfile.PARAMS[kind], "params", values=usual)
        if self.shaping:
            self._add(runfile.Adapter, "adapter", only=self.shaping)
        self._add(runfile.Hardware, "hardware")
        style_fields(self)

    def _choose_inputs(self, kind: str) -> None:
        choices = self.fields["kind"]
        assert isinstance(choices, forms.ChoiceField)
        choices.choices = [(each, gettext(Run.Kind(each).label)) for each in KINDS]
        adapters = self.fields["adapter"]
        assert isinstance(adapters, forms.ChoiceField)
        adapters.choices = adapters_of(kind)
        snapshots = Snapshot.objects.filter(project=self.project)
        if kind in READS:
            snapshots = snapshots.filter(type__in=READS[Run.Kind(kind)])
        rewards = Model.objects.reward_models().filter(project=self.project).select_related("run")
        for name, rows, words in (
            ("start_model", policies_of(self.project), model_words),
            ("reward_model", rewards, model_words),
            ("snapshot", snapshots, snapshot_words),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset, field.empty_label = rows, None
            field.label_from_instance = words  # type: ignore[method-assign,assignment]
            if not self.is_bound and (newest := rows.first()) is not None:
                self.initial.setdefault(name, newest.pk)
        if kind not in Run.ROLLS_OUT:
            del self.fields["reward_model"]
            return
        self.fields["snapshot"].label = gettext("Prompts from")
        if kind != Run.Kind.PPO:  # a rule can take its place
            scored = self.fields["reward_model"]
            assert isinstance(scored, forms.ModelChoiceField)
            scored.required, scored.empty_label = False, gettext("None: a rule scores")

    def _add(
        self, kind: type, prefix: str, *, only: tuple[str, ...] = (), values: Mapping[str, Any] | None = None
    ) -> None:
        """A form field for each setting of the dataclass."""
        hints = typing.get_type_hints(kind)
        for one in dataclasses.fields(kind):
            if only and one.name not in only:
                continue
            default = (values or {}).get(one.name, one.default)
            self.fields[f"{prefix}.{one.name}"] = field_of(one, hints[one.name], default)

    def clean(self) -> dict[str, Any]:
        """The checked run.json in `config`, or the engine's complaint at the field that it names."""
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            self.config = describe(
                self.run_kind, name=data.get("name") or self.run_kind, **self.options(describing=True)
            )
            runfile.check(self.config, root=settings.HONE_DATA)
        except RunFileError as error:
            self.refuse(error)
        return data

    def refuse(self, error: RunFileError) -> None:
        """Put the engine's complaint at the field that it names."""
        self.add_error(*self._placed(error))

    def draft(self) -> dict[str, Any]:
        """A run.json of whatever is filled in and readable, good enough to estimate from."""
        params = runfile.defaults(self.run_kind, None if self.method == "full" else self.method)
        for name in params:
            if (number := _number(self[f"params.{name}"].value())) is not None:
                params[name] = int(number) if number.is_integer() else number
        adapter: dict[str, Any] | None = None if self.method == "full" else {"method": self.method}
        for name in self.shaping:
            if (number := _number(self[f"adapter.{name}"].value())) is not None:
                adapter = (adapter or {}) | {name: int(number) if number.is_integer() else number}
        return {"kind": self.run_kind, "params": params, "adapter": adapter}

    def options(self, *, describing: bool = False) -> dict[str, Any]:
        """What `rlhf.runs.create` (or `describe`) takes besides the project, the kind and the name."""
        data = self.cleaned_data
        start: Model = data["start_model"]
        given: dict[str, Any] = {
            "start_model": start,
            "snapshot": data["snapshot"],
            "reward_model": data.get("reward_model"),
            "params": self._section("params"),
            "hardware": self._section("hardware"),
            "seed": data["seed"],
            "template": data["template"] or None,
        }
        if self.method == "full":
            given["adapter"] = None
            return given
        asked = self._section("adapter")
        if "targets" in asked:
            asked["targets"] = layers_in(asked["targets"])
        if start.is_adapter:  # it keeps its own shape
            bits = {"bits": asked["bits"]} if "bits" in asked else {}
            given["adapter"] = shape_of(start, self.method) | bits
        else:
            given["adapter"] = {"method": self.method} | asked
        return given

    @property
    def method_label(self) -> str:
        return dict(adapters_of(self.run_kind)).get(self.method, self.method)

    def _section(self, prefix: str) -> dict[str, Any]:
        found = {
            name.partition(".")[2]: value for name, value in self.cleaned_data.items() if name.startswith(prefix + ".")
        }
        return {name: None if value == "" else value for name, value in found.items()}

    def _placed(self, error: RunFileError) -> tuple[str | None, str]:
        """The form field that the engine's complaint is about, and the complaint without the key's name."""
        key = {"base_model": "start_model", "start_adapter": "adapter"}.get(error.field, error.field)
        key = key.removesuffix(".path").removesuffix(".sha256").removesuffix(".hash")
        if key in self.fields:
            text = str(error).removeprefix(error.field).strip()
            return key, f"{text[:1].upper()}{text[1:]}."
        return None, f"{error}."

    @cached_property
    def first(self) -> list[forms.BoundField]:
        return [self[f"params.{name}"] for name in FIRST[self.run_kind]]

    @cached_property
    def folds(self) -> list[dict[str, Any]]:
        """The other settings by group, each fold with a line that says what is in it."""
        groups: dict[str, list[forms.BoundField]] = {}
        if self.shaping:
            groups[gettext("Adapter details")] = [self[f"adapter.{name}"] for name in self.shaping]
        for one in dataclasses.fields(runfile.PARAMS[self.run_kind]):
            if one.name not in FIRST[self.run_kind]:
                groups.setdefault(str(one.metadata["group"]), []).append(self[f"params.{one.name}"])
        hardware = [self[name] for name in self.fields if name.startswith("hardware.")]
        groups[gettext("Hardware and seed")] = [*hardware, self["seed"]]
        return [
            {"title": title, "fields": fields, "words": _fold_words(fields), "open": any(one.errors for one in fields)}
            for title, fields in groups.items()
        ]

    @cached_property
    def shaping(self) -> tuple[str, ...]:
        """The settings of the adapter that are asked for: one that goes on keeps its shape."""
        return tuple(name for name in adapter_fields(self.method) if name == "bits" or not self.goes_on)

    @cached_property
    def goes_on(self) -> bool:
        """Whether the start model is itself an adapter, whose shape stays."""
        value = self["start_model"].value()
        start = value if isinstance(value, Model) else policies_of(self.project).filter(pk=value or 0).first()
        return bool(start and start.is_adapter)


def style_fields(form: forms.Form) -> None:
    """The design's classes for fields that were added late."""
    for field in form.fields.values():
        if isinstance(field.widget, forms.CheckboxInput):
            field.widget.attrs.setdefault("role", "switch")
        elif not isinstance(field.widget, forms.RadioSelect):
            field.widget.attrs.setdefault("class", "input")


def field_of(setting: dataclasses.Field[Any], hint: Any, default: Any) -> forms.Field:
    """The form field of one engine setting, with its label, help, unit and bounds."""
    about = setting.metadata
    accepted = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    unit = f", {about['unit']}" if about.get("unit") and about["unit"] != "share" else ""
    common: dict[str, Any] = {"label": about.get("label", setting.name) + unit, "help_text": about.get("help", "")}
    common["required"] = type(None) not in accepted
    low, high = about.get("min"), about.get("max")
    bounds: dict[str, Any] = {"min_value": low, "max_value": high}
    text = {
        "min_value": gettext("At least %(bound)s.") % {"bound": f"{low:g}"} if low is not None else "",
        "max_value": gettext("At most %(bound)s.") % {"bound": f"{high:g}"} if high is not None else "",
    }
    text |= {"invalid": gettext("Must be a number."), "required": gettext("Is needed.")}
    if about.get("choices"):
        return forms.ChoiceField(choices=[(one, one) for one in about["choices"]], initial=default, **common)
    if bool in accepted:
        return forms.BooleanField(initial=default, **(common | {"required": False}))
    typed = forms.TextInput(attrs={"inputmode": "decimal"})
    shown = default if not isinstance(default, float) else shortest(default)
    if float in accepted:
        return forms.FloatField(initial=shown, widget=typed, error_messages=text, **bounds, **common)
    if int in accepted:
        text["invalid"] = gettext("Must be a whole number.")
        return forms.IntegerField(initial=shown, widget=typed, error_messages=text, **bounds, **common)
    return forms.CharField(initial=shown, **common)


def initial_from(run: Run, settings: list[str]) -> dict[str, Any]:
    """The form filled in like `run`, with `key.key=value` changes; raises RunFileError for a malformed change."""
    config = runfile.with_overrides(
        run.config, [one for one in settings if re.match(r"^(params|adapter|hardware)\.", one)]
    )
    initial: dict[str, Any] = {
        "kind": run.kind,
        "adapter": config["adapter"].get("method", "lora") if config.get("adapter") else "full",
        "start_model": run.start_model_id,
        "reward_model": run.reward_model_id,
        "snapshot": run.snapshot_id,
        "template": config.get("template") or "",
        "seed": config.get("seed", 0),
    }
    for section in ("params", "adapter", "hardware"):
        for name, value in (config.get(section) or {}).items():
            value = ", ".join(value) if isinstance(value, list) else value
            initial[f"{section}.{name}"] = shortest(value) if isinstance(value, float) else value
    return initial


def layers_in(text: str) -> str | list[str]:
    """`all-linear`, or the names of layers between commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return text if names == ["all-linear"] else names


def shortest(number: float) -> str:
    """The number in as few characters as still say it exactly."""
    return min((text for text in (f"{number:g}", repr(number)) if float(text) == number), key=len)


def _number(value: Any) -> float | None:
    try:
        return float(value) if value not in (None, "") and not isinstance(value, bool) else None
    except (TypeError, ValueError):
        return None


def _fold_words(fields: list[forms.BoundField]) -> str:
    """`clip range 0.2, discount 1`: what a closed fold holds."""
    words = []
    for field in fields[:4]:
        value = field.value()
        if isinstance(value, bool):
            value = gettext("on") if value else gettext("off")
        elif value in (None, ""):
            value = gettext("not set")
        words.append(f"{str(field.label).split(',')[0].lower()} {value}")
    return ", ".join(words)
