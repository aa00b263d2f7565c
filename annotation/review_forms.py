"""What a reviewer asks the lists of disagreements and of judgements for."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation import disputes
from annotation.forms import PageForm, worded
from annotation.models import Dispute, Project, User
from annotation.questions import questions_of

ANY = ("", _("Any"))


class Narrowing(PageForm):
    """Filters of a list; what is left empty does not narrow it."""

    annotator = forms.ModelChoiceField(
        queryset=User.objects.none(), required=False, empty_label=_("Anybody"), label=_("Judged by")
    )
    flag = forms.ChoiceField(required=False, label=_("Flag"))
    guideline = forms.TypedChoiceField(coerce=int, empty_value=None, required=False, label=_("Under guidelines"))
    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label=_("Judged from"))
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label=_("to"))

    def __init__(self, project: Project, data: Any) -> None:
        super().__init__(data)
        fields: dict[str, Any] = self.fields
        versions = project.guideline_versions.order_by("-number").values_list("number", flat=True)[:200]
        flags = [(flag["name"], flag["label"]) for flag in questions_of(project)["flags"]]
        fields["annotator"].queryset = disputes.people_of(project)
        fields["annotator"].label_from_instance = lambda person: person.label
        fields["flag"].choices = [ANY, ("any", gettext("Any flag")), *flags]
        fields["guideline"].choices = [
            ANY,
            *((number, gettext("Version %(number)s") % {"number": number}) for number in versions),
        ]

    def filters(self) -> dict[str, Any]:
        """What was asked for, by name; fields that are wrong are left out and told on the page."""
        self.full_clean()
        found = {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}
        for name, days in (("since", 0), ("until", 1)):
            if name in found:
                found[name] = _midnight(found[name] + timedelta(days=days))
        return found


class DisputeForm(Narrowing):
    """Which disagreements: what disputes.narrowed takes."""

    state = forms.ChoiceField(choices=worded(Dispute.State.choices), required=False, label=_("State"))
    sources = forms.ChoiceField(required=False, label=_("Responses from"))
    least = forms.IntegerField(required=False, min_value=0, max_value=100, label=_("Spread at least"))

    def __init__(self, project: Project, data: Any) -> None:
        super().__init__(project, data)
        sources: Any = self.fields["sources"]
        sources.choices = [ANY, *((pair, pair) for pair in disputes.sources_of(project))]

    def filters(self) -> dict[str, Any]:
        return {"state": Dispute.State.OPEN} | super().filters()

    def is_narrowed(self) -> bool:
        return bool(self.filters().keys() - {"state"})


class JudgmentForm(Narrowing):
    """Which judgements: what listing.found takes, and the id of one item to go to."""

    gold = forms.ChoiceField(
        required=False,
        choices=[ANY, ("missed", _("Gold, not as expected")), ("right", _("Gold, as expected"))],
        label=_("Gold items"),
    )
    id = forms.CharField(
        required=False,
        max_length=200,
        label=_("Item with the id"),
        widget=forms.TextInput(attrs={"data-search": True}),  # what the key / leads to
    )

    def __init__(self, project: Project, data: Any) -> None:
        super().__init__(project, data)
        people: Any = self.fields["annotator"]
        people.to_field_name = "username"
        left = User.objects.filter(username=str(data.get("annotator", ""))[:150], annotations__project=project)
        people.queryset = (disputes.people_of(project) | left).distinct()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
