"""The card that pushes a snapshot to the hub."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotation.models.people import TRAINS
from rlhf import pushing
from rlhf.forms import Styled
from rlhf.models import Snapshot

SHOWN = 5


class PushForm(Styled):
    """Where to."""

    repository = forms.CharField(
        max_length=200, help_text=_("owner/name"), widget=forms.TextInput(attrs={"placeholder": "team/prefs"})
    )
    public = forms.BooleanField(required=False, label=_("Public, if it is new"))


def hub_card(row: Snapshot, form: PushForm | None = None) -> dict[str, Any]:
    """What the card shows: the latest pushes, and the form where there is a token and the reader may train."""
    found = list(row.pushes.select_related("created_by")[:SHOWN])
    last = found[0].repository if found else ""
    may = pushing.is_configured() and row.project.my_role in TRAINS
    return {
        "project": row.project,
        "snapshot": row,
        "pushes": found,
        "is_pushing": any(one.is_live for one in found),
        "push_form": (form or PushForm(initial={"repository": last})) if may else None,
        "hub_is_configured": pushing.is_configured(),
    }
