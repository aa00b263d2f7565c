"""Forms of the loop. They read what was typed; whether it can be done is asked of the engine and the domain."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from annotation.models import Project, User
from rlhf import figures, prompts, rounds
from rlhf.models import Model, Snapshot
from rlhf.plans import METHODS, Plan
from rlhf.prompts import Prompt

MAX_PROMPTS_FILE = 64 * 1024 * 1024


class Styled(forms.Form):
    """A form whose fields carry the design's classes and name their error by id."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            widget = field.widget
            if isinstance(widget, forms.CheckboxInput):
                widget.attrs.setdefault("role", "switch")
            elif not isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple | forms.HiddenInput):
                widget.attrs.setdefault("class", "input")
            if isinstance(widget, forms.NumberInput):
                widget.attrs.setdefault("inputmode", "decimal")
            field.label = field.label or name.replace("_", " ").capitalize()


def policies_of(project: Project) -> QuerySet[Model]:
    """Policies a run of this project may start from: its own, and base models that belong to no project."""
    return Model.objects.policies().filter(Q(project=project) | Q(project=None)).select_related("parent", "run")


class DecisionForm(Styled):
    """Promote one policy, or none; with a reason that is kept."""

    promote = forms.ChoiceField(required=False)
    reason = forms.CharField(
        label=_("Reason, kept with the model"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": _("Give the reason: it is kept with the model.")},
    )

    def __init__(self, *args: Any, names: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["promote"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [("", gettext("Reject")), *[(name, name) for name in names]]


class AbandonForm(Styled):
    """End a round before its decision, with a reason that is kept."""

    reason = forms.CharField(
        label=_("Reason, kept with the round"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "id": "id_abandon_reason"}),
        error_messages={"required": _("Give the reason: it is kept with the round.")},
    )


class RoundForm(Styled):
    """What a person decides about a round; the rest comes from the round before, or from the plan's defaults."""

    start_model = forms.ModelChoiceField(
        queryset=Model.objects.none(),
        label=_("Start from"),
        help_text=_("It writes the answers, and it is what gets improved."),
    )
    base_model = forms.ModelChoiceField(
        queryset=Model.objects.none(), label=_("Compare with"), help_text=_("What people compare every policy with.")
    )
    prompts_file = forms.FileField(
        required=False,
        label=_("Prompts file"),
        help_text=_("JSON lines: a text, or an object with id and prompt"),
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.json,.txt"}),
    )
    prompts_project = forms.ModelChoiceField(
        queryset=Project.objects.none(), required=False, label=_("Or the prompts of a project")
    )
    prompts = forms.IntegerField(
        min_value=1, max_value=1_000_000, label=_("Prompts to label"), help_text=_("At most so many; drawn by hash.")
    )
    responses_per_prompt = forms.IntegerField(
        min_value=2, max_value=64, label=_("Answers per prompt"), help_text=_("Two make one pair, four make two.")
    )
    eval_prompts = forms.IntegerField(
        min_value=1,
        max_value=100_000,
        label=_("Prompts to evaluate on"),
        help_text=_("Nobody labels them, nothing trains on them."),
    )
    eval_overlap = forms.IntegerField(min_value=1, max_value=10, label=_("Judgments per comparison"))
    methods = forms.MultipleChoiceField(
        choices=[(kind, kind.upper()) for kind in METHODS],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one method.")},
    )
    win_rate_low = forms.FloatField(
        min_value=0,
        max_value=1,
        label=_("Preferred by more than"),
        help_text=_("Lower end of the 95% interval, 0 to 1."),
    )
    kl_max = forms.FloatField(min_value=0, label=_("KL at most"), help_text=_("Nats per answer, to the start model."))
    promote_automatically = forms.BooleanField(
        required=False, label=_("Promote the best one through the gate without asking")
    )

    def __init__(self, *args: Any, project: Project, user: User, **kwargs: Any) -> None:
        self.project = project
        kwargs.setdefault("initial", self._usual())
        super().__init__(*args, **kwargs)
        for name in ("start_model", "base_model"):
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = policies_of(project)
            field.label_from_instance = model_words  # type: ignore[method-assign, assignment]
            field.empty_label = None
        source = self.fields["prompts_project"]
        assert isinstance(source, forms.ModelChoiceField)
        source.queryset = Project.objects.data_readable_by(user)

    def clean_prompts_file(self) -> list[Prompt] | None:
        """The prompts in the uploaded file, each checked; the file itself is not kept."""
        sent = self.cleaned_data["prompts_file"]
        if not sent:
            return None
        if sent.size > MAX_PROMPTS_FILE:
            raise forms.ValidationError(
                gettext("The file is larger than 64 MB; start the round with manage.py round instead.")
            )
        with tempfile.NamedTemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR, suffix=".jsonl") as kept:
            for chunk in sent.chunks():
                kept.write(chunk)
            kept.flush()
            try:
                return prompts.from_file(kept.name)
            except prompts.PromptError as error:
                raise forms.ValidationError(str(error)) from error

    def pool(self) -> list[Prompt] | None:
        """The prompts to draw from: the file's, else the named project's; None leaves it to the round."""
        source = self.cleaned_data["prompts_project"]
        if self.cleaned_data["prompts_file"] is not None:
            return list(self.cleaned_data["prompts_file"])
        return prompts.from_project(source) if source and source != self.project else None

    def _usual(self) -> dict[str, Any]:
        """The plan of the round before, from the policy that is promoted now."""
        plan = rounds.usual_plan(self.project)
        policies = policies_of(self.project)
        start = policies.filter(state=Model.State.PROMOTED).first() or policies.first()
        return {
            "start_model": start,
            "prompts_project": self.project,
            "base_model": rounds.usual_base(self.project, start) if start else None,
            "methods": [entry["kind"] for entry in plan["policies"]],
            **{name: plan[name] for name in ("prompts", "responses_per_prompt", "eval_prompts", "eval_overlap")},
            "win_rate_low": plan["gate"].get("win_rate_low", 0.5),
            "kl_max": plan["gate"].get("kl_max", 15.0),
            "promote_automatically": plan["promote_automatically"],
        }

    def plan(self) -> Plan:
        """The plan to start: settings of the methods stay as they were in the round before."""
        data, usual = self.cleaned_data, rounds.usual_plan(self.project)
        methods = {entry["kind"]: entry for entry in usual["policies"]}
        typed = ("prompts", "responses_per_prompt", "eval_prompts", "eval_overlap", "promote_automatically")
        asked = {name: data[name] for name in typed}
        asked["policies"] = [methods.get(kind, {"kind": kind}) for kind in data["methods"]]
        asked["gate"] = {"win_rate_low": data["win_rate_low"], "kl_max": data["kl_max"]}
        return Plan(**(usual | asked))

    def models(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("start_model", "base_model")}

    def field_of(self, error: Exception) -> str | None:
        """The field that a refused plan is about, when the form has it."""
        name = getattr(error, "field", "")
        name = {"gate.win_rate_low": "win_rate_low", "gate.kl_max": "kl_max", "policies": "methods"}.get(name, name)
        return name if name in self.fields else None


def model_words(model: Model) -> str:
    """A model in a list of choices: its name, and what sets it apart."""
    accuracy = ((model.figures or {}).get("training") or {}).get("accuracy") or {}
    if model.role == Model.Role.REWARD and isinstance(accuracy.get("value"), int | float):
        behind = figures.snapshot_behind(model)
        text = gettext("%(name)s, %(share)s held out")
        if behind is not None and behind.simulated_share:
            text = gettext("%(name)s, %(share)s held out, simulated judges")
        return text % {"name": model.name, "share": f"{accuracy['value']:.1%}"}
    if model.state != Model.State.CANDIDATE:
        return f"{model.name}, {gettext(model.get_state_display()).lower()}"
    return gettext("%(name)s, base") % {"name": model.name} if model.run_id is None else model.name


def snapshot_words(snapshot: Snapshot) -> str:
    rows = (snapshot.counts.get("train") or 0) + (snapshot.counts.get("eval") or 0)
    text = ngettext("%(name)s, %(rows)s row", "%(name)s, %(rows)s rows", rows)
    if snapshot.simulated_share:
        text = ngettext("%(name)s, %(rows)s row, simulated judges", "%(name)s, %(rows)s rows, simulated judges", rows)
    told = text % {"name": snapshot, "rows": f"{rows:,}"}
    if snapshot.withdrawn:
        told = gettext("%(snapshot)s, %(count)s judgments withdrawn") % {
            "snapshot": told,
            "count": f"{snapshot.withdrawn:,}",
        }
    return told
