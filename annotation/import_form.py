"""What the first step of an import asks: a file or a hub dataset, and what is to be known of its records."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation.forms import PageForm, worded
from annotation.incoming import FORMATS
from annotation.models import Purpose
from annotation.reading import hub


class ImportForm(PageForm):
    file = forms.FileField(required=False, help_text=_("JSONL, JSON, CSV, TSV, Parquet, or one of them zipped"))
    source = forms.CharField(
        required=False,
        max_length=200,
        label=_("Hub dataset"),
        help_text=format_lazy(_("Such as {help}"), help=hub.HELP),
    )
    format = forms.ChoiceField(
        required=False,
        choices=[("", _("As its name and content tell")), *((name, name) for name in FORMATS)],
        label=_("Format"),
    )
    annotator = forms.CharField(
        required=False,
        max_length=150,
        initial="imported",
        label=_("Chosen answers were judged by"),
        help_text=_("A name, or nothing where they are nobody's judgment"),
    )
    purpose = forms.ChoiceField(
        required=False,
        choices=worded(Purpose.choices),
        label=_("The items are for"),
        help_text=_("Judgments of evaluation items never reach a training snapshot"),
    )
    metadata = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "placeholder": "batch=may"}),
        label=_("Added to every record"),
        help_text=_("KEY=VALUE, one a line"),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if bool(cleaned.get("file")) == bool(cleaned.get("source")) and not self.errors:
            self.add_error("file", gettext("Choose a file, or name a hub dataset."))
        return cleaned

    def clean_source(self) -> str:
        source = str(self.cleaned_data["source"]).strip()
        if source and not source.startswith(hub.PREFIX):
            source = hub.PREFIX + source
        if source and not hub.NAME.fullmatch(source):
            raise forms.ValidationError(gettext("Must be %(help)s.") % {"help": hub.HELP})
        return source

    def clean_metadata(self) -> dict[str, str]:
        found = {}
        for line in filter(None, map(str.strip, self.cleaned_data["metadata"].splitlines())):
            key, equals, value = line.partition("=")
            if not key or not equals:
                raise forms.ValidationError(gettext("Takes KEY=VALUE, not “%(line)s”.") % {"line": line})
            found[key] = value
        return found

    @property
    def options(self) -> dict[str, Any]:
        """What import_records is told besides the file; what was left empty is left to its defaults."""
        given = {name: self.cleaned_data[name] for name in ("source", "format", "purpose", "metadata")}
        given = {name: value for name, value in given.items() if value}
        return given | ({"annotator": self.cleaned_data["annotator"]} if "annotator" in self.data else {})

    @property
    def more(self) -> list[forms.BoundField]:
        """The fields that most imports leave as they are."""
        return [self[name] for name in ("format", "annotator", "purpose", "metadata")]

    @property
    def is_open(self) -> bool:
        """Whether one of them needs to be looked at."""
        return any(field.errors for field in self.more)
