"""What pages send: each form checks its input and decides nothing."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation import sealing
from annotation.cleaning import CleaningError, clean_text, strict_json
from annotation.models import ApiToken, Kind, Order, Project, Role, SkipTo, User
from annotation.questions import STEPS
from annotation.shell import THEMES
from annotation.templates import TEMPLATES

LONGEST_GUIDELINES = 100_000
THEME_CHOICES = list(zip(THEMES, (_("Auto"), _("Light"), _("Dark")), strict=True))
SWITCH = [("1", _("On")), ("0", _("Off"))]


def worded(choices: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    """The choices of a field in the reader's language; their labels are marked where they are written."""
    return [(value, _(label)) for value, label in choices]


class PercentField(forms.FloatField):
    """A share of one, written as percent."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=most, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{100 * value:g}" if isinstance(value, float) else value

    def clean(self, value: Any) -> float | None:
        percent = super().clean(value)
        return None if percent is None else percent / 100


class PageForm(forms.Form):
    """A form whose fields wear the design's classes and whose texts pass the one door for text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if not isinstance(field.widget, forms.CheckboxInput | forms.RadioSelect | forms.HiddenInput):
                field.widget.attrs.setdefault("class", "input")
            if field.help_text:
                field.widget.attrs.setdefault("aria-describedby", f"help-{name}")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, value in list(cleaned.items()):
            if isinstance(value, str) and value:
                try:
                    cleaned[name] = clean_text(value, name)
                except CleaningError as error:
                    self.add_error(name, error.message)
        return cleaned

    def sentences(self) -> dict[str, str]:
        return {name: " ".join(str(error) for error in errors) for name, errors in self.errors.items()}


class JudgementForm(PageForm):
    """What every judgement carries beside its body."""

    key = forms.CharField(required=False, max_length=80)
    seconds = forms.FloatField(required=False, min_value=0, max_value=86_400)


class ProjectForm(PageForm):
    name = forms.CharField(max_length=120, label=_("Name"), help_text=_("As annotators see it"))
    start = forms.ChoiceField(choices=[*Kind.choices, *((f"template:{one}", one) for one in TEMPLATES)])
    question = forms.CharField(
        max_length=200,
        required=False,
        label=_("Question"),
        help_text=_("One line above the work; empty for the usual one"),
    )
    overlap = forms.IntegerField(
        min_value=1, max_value=10, required=False, help_text=_("How many people judge each item; empty for the usual")
    )
    guidelines = forms.CharField(
        required=False,
        max_length=LONGEST_GUIDELINES,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text=_("Markdown; a template brings its own. Annotators open them with G"),
    )

    def settings(self) -> dict[str, Any]:
        """What `projects.create` takes."""
        sent = dict(self.cleaned_data)
        start = sent.pop("start")
        sent["overlap"] = sent["overlap"] or (None if start.startswith("template:") else 1)
        if start.startswith("template:"):
            return sent | {"template": start.removeprefix("template:")}
        return sent | {"kind": start}


class QueueForm(PageForm):
    """Name, question and queue rules of a project."""

    name = forms.CharField(max_length=120, label=_("Name"))
    question = forms.CharField(max_length=200, required=False, label=_("Question"))
    overlap = forms.IntegerField(min_value=1, max_value=10, help_text=_("For items that are not finished yet"))
    lease_minutes = forms.IntegerField(
        min_value=1, max_value=240, help_text=_("Then the item is free again; the draft stays")
    )
    order = forms.ChoiceField(
        choices=worded(Order.choices), label=_("Order"), help_text=_("Changing it reorders the open items")
    )
    daily_goal = forms.IntegerField(
        min_value=0, max_value=10_000, label=_("Daily goal"), help_text=_("Judgments a person and day; 0 for none")
    )
    agreement_share = PercentField(most=100, help_text=_("Percent of the items, for measuring agreement; 0 for none"))
    agreement_overlap = forms.IntegerField(
        min_value=1, max_value=10, label=_("Judgments for these"), help_text=_("Instead of the number above")
    )
    skip_to = forms.ChoiceField(
        choices=worded(SkipTo.choices), label=_("Skipped items go"), help_text=_("Until then to others")
    )
    skip_limit = forms.IntegerField(min_value=1, max_value=100, label=_("After so many skips"))
    repeat_share = PercentField(
        most=50, label=_("Swap and repeat"), help_text=_("Percent: one's own item, sides swapped")
    )
    repeat_after = forms.IntegerField(
        min_value=1, max_value=200, label=_("Repeat after"), help_text=_("Judgments between the two times")
    )
    gold_share = PercentField(
        most=50, label=_("Gold items"), help_text=_("Percent of a person's work; 0 leaves them in place")
    )
    gold_bar = PercentField(
        most=100, label=_("Pause below"), help_text=_("Percent of gold answers right; 0 pauses nobody")
    )
    gold_window = forms.IntegerField(
        min_value=1, max_value=100, label=_("Counted over"), help_text=_("The latest gold items of a person")
    )
    agreement_bar = forms.FloatField(
        min_value=0,
        max_value=1,
        label=_("Act below α"),
        help_text=_("Agreement, such as 0.45; whose lies below is marked. 0 for none"),
    )
    gold_feedback = forms.TypedChoiceField(
        choices=[("0", _("No")), ("1", _("A day later, under My work"))],
        coerce=lambda sent: sent == "1",
        empty_value=None,
        label=_("Tell people what they missed"),
        help_text=_("Off, nobody learns what was gold"),
    )
    qualification_size = forms.IntegerField(
        min_value=0,
        max_value=100,
        label=_("Qualification items"),
        help_text=_("Before a new annotator starts; 0 for none"),
    )
    qualification_bar = PercentField(most=100, label=_("To pass"), help_text=_("Percent right"))

    # Sent by the settings page; a caller that leaves one out leaves the rule as it is.
    RULES = (
        "agreement_share", "agreement_overlap", "skip_to", "skip_limit", "repeat_share", "repeat_after", "gold_share",
        "gold_bar", "gold_window", "gold_feedback", "agreement_bar", "qualification_size", "qualification_bar",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.RULES:
            self.fields[name].required = False

    def rules(self) -> dict[str, Any]:
        """What was sent, as the project's fields are called."""
        sent = self.cleaned_data.items()
        return {name: value for name, value in sent if name not in self.RULES or value not in (None, "")}


class GuidelinesForm(PageForm):
    text = forms.CharField(
        label=_("Guidelines"), max_length=LONGEST_GUIDELINES, widget=forms.Textarea(attrs={"rows": 14, "dir": "auto"})
    )


class MemberForm(PageForm):
    username = forms.CharField(max_length=150, label=_("Name"), help_text=_("The name this person signs in with"))
    role = forms.ChoiceField(choices=worded(Role.choices), initial=Role.ANNOTATOR, label=_("Role"))

    def clean_username(self) -> str:
        username = str(self.cleaned_data["username"]).strip()
        if not User.objects.filter(username=username).exists():
            raise forms.ValidationError(
                gettext("Nobody is called %(name)s. An admin makes accounts with create_user.") % {"name": username}
            )
        return username


class RoleForm(PageForm):
    role = forms.ChoiceField(choices=worded(Role.choices), label=_("Role"))


class TokenForm(PageForm):
    name = forms.CharField(max_length=80, label=_("Name"), help_text=_("What will use it"))
    scope = forms.ChoiceField(choices=worded(ApiToken.Scope.choices), initial=ApiToken.Scope.READ, label=_("May"))
    days = forms.IntegerField(
        min_value=1, max_value=365, initial=90, label=_("Days"), help_text=_("Days until it expires")
    )


class PreferencesForm(PageForm):
    """One person's theme and keys; a script sends only what changed, the account page all of it."""

    theme = forms.ChoiceField(choices=THEME_CHOICES, required=False)
    single_keys = forms.TypedChoiceField(
        choices=SWITCH, coerce=lambda sent: sent == "1", empty_value=None, required=False
    )
    one_key = forms.TypedChoiceField(choices=SWITCH, coerce=lambda sent: sent == "1", empty_value=None, required=False)
    differences = forms.TypedChoiceField(
        choices=SWITCH, coerce=lambda sent: sent == "1", empty_value=None, required=False
    )


def body_of(project: Project, sent: Any) -> dict[str, Any]:
    """The body of a judgement, in terms of the sides shown, from the fields of the judging page."""
    body = draft_of(project, sent)
    if project.kind == Kind.PREFERENCE:
        body.setdefault("choice", None)
    if project.kind == Kind.DEMONSTRATION:
        body.setdefault("text", "")
    return body


def draft_of(project: Project, sent: Any) -> dict[str, Any]:
    """As `body_of`, of a page that may be half filled in."""
    body: dict[str, Any] = {}
    if flags := sent.getlist("flag"):
        body["flags"] = flags
    if reasons := sent.getlist("why"):
        body["reasons"] = reasons
    if rationale := sent.get("rationale"):
        body["rationale"] = rationale
    if spans := _spans(sent.get("highlights", "")):
        body["highlights"] = spans
    if project.kind == Kind.PREFERENCE:
        body["aspects"] = _prefixed(sent, "aspect-")
        verdict = sent.get("verdict", "")
        if verdict == "both_bad":
            body |= {"choice": "both_bad", "strength": 0}
        elif verdict.isdigit() and int(verdict) in STEPS:
            body["choice"], body["strength"] = STEPS[int(verdict)]
        if improved := sent.get("improved", "").replace("\r\n", "\n"):
            body["improved"] = improved
    elif project.kind == Kind.RATING:
        body["ratings"] = _numbers(_prefixed(sent, "rating-"))
        for name, value in _numbers(_prefixed(sent, "turn-")).items():
            turn, _, aspect = name.partition("-")
            body.setdefault("turns", {}).setdefault(turn, {})[aspect] = value
    elif project.kind == Kind.RANKING:
        body["ranking"] = _ranking(_placed(project, _prefixed(sent, "place-")))
    else:
        body["text"] = str(sent.get("text", "")).replace("\r\n", "\n")
    return body


def _prefixed(sent: Any, prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): str(sent[name]) for name in sent if name.startswith(prefix) and sent[name]}


def _numbers(sent: dict[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in sent.items() if value.isdecimal() and len(value) < 4}


def _spans(sent: str) -> Any:
    """The list that the page keeps as JSON; what is no JSON is passed on, to be refused by name."""
    try:
        return strict_json(sent) if sent else None
    except CleaningError:
        return sent


def _placed(project: Project, sent: dict[str, str]) -> dict[int, str]:
    """{response id: place} from the numbers that the page has for the responses."""
    number = sealing.response_of(project)
    return {number(int(name)): place for name, place in sent.items() if name.isdecimal() and len(name) < 20}


def _ranking(places: dict[int, str]) -> list[list[int]]:
    """[[id, id], [id]] from {id: place}: equal places are a tie, gaps close up."""
    wanted = {response: int(place) for response, place in places.items() if place.isdigit()}
    return [sorted(r for r, p in wanted.items() if p == place) for place in sorted(set(wanted.values()))]
