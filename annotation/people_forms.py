"""What the pages about people send."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import password_validation

from annotation.forms import PageForm
from annotation.invitations import MOST_DAYS, MOST_USES
from annotation.models import Role, User


class InviteForm(PageForm):
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ANNOTATOR)
    uses = forms.IntegerField(
        min_value=1, max_value=MOST_USES, initial=1, label="For", help_text="People who may come through it"
    )
    days = forms.IntegerField(
        min_value=1, max_value=MOST_DAYS, initial=7, label="Good for", help_text="Days until it expires"
    )


class JoinForm(PageForm):
    """A new account, made by whom it is for."""

    username = forms.CharField(max_length=150, label="Name", help_text="You sign in with it; others may see it")
    password = forms.CharField(
        max_length=128,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 10 characters",
    )

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"]).strip()
        User.username_validator(name)
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError("Somebody has this name already. If it is you, sign in.")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if password := cleaned.get("password"):
            try:
                password_validation.validate_password(password, User(username=cleaned.get("username", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return cleaned
