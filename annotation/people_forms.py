"""What the pages about people send."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotation.forms import PageForm, worded
from annotation.invitations import MOST_DAYS, MOST_USES
from annotation.models import Role, User


class InviteForm(PageForm):
    role = forms.ChoiceField(choices=worded(Role.choices), initial=Role.ANNOTATOR, label=_("Role"))
    uses = forms.IntegerField(
        min_value=1, max_value=MOST_USES, initial=1, label=_("For"), help_text=_("People who may come through it")
    )
    days = forms.IntegerField(
        min_value=1, max_value=MOST_DAYS, initial=7, label=_("Good for"), help_text=_("Days until it expires")
    )


class JoinForm(PageForm):
    """A new account, made by whom it is for."""

    username = forms.CharField(max_length=150, label=_("Name"), help_text=_("You sign in with it; others may see it"))
    password = forms.CharField(
        label=_("Password"),
        max_length=128,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters"),
    )

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"]).strip()
        User.username_validator(name)
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError(gettext("Somebody has this name already. If it is you, sign in."))
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if password := cleaned.get("password"):
            try:
                password_validation.validate_password(password, User(username=cleaned.get("username", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return cleaned
