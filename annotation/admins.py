"""Site admins: who may do everything everywhere. Admins make others admins; one always stays."""

from __future__ import annotations

from django.utils.translation import gettext

from annotation.models import User
from annotation.writes import write_transaction


class NotAnAdmin(Exception):
    """This account cannot be made an admin, or stay without one; the message is one sentence."""


def listed() -> list[User]:
    """The admins who can sign in, by name."""
    return list(User.objects.filter(is_superuser=True, is_active=True).order_by("username"))


def grant(username: str) -> User:
    """The account of this name as a site admin's; the caller has checked that an admin asks."""
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise NotAnAdmin(gettext("Nobody who can sign in is called %(username)s.") % {"username": username})
    if user.is_simulated:
        raise NotAnAdmin(gettext("%(username)s is a simulated rater, no person.") % {"username": username})
    User.objects.filter(pk=user.pk, is_active=True).update(is_superuser=True, is_staff=True)
    user.refresh_from_db(fields=["is_superuser", "is_staff"])
    return user


def revoke(user: User) -> None:
    """Make a site admin an ordinary account again, with the memberships it has; NotAnAdmin when it is the last one."""
    with write_transaction():
        others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk).select_for_update()
        last = not list(others.values_list("pk"))
        if not last:
            User.objects.filter(pk=user.pk).update(is_superuser=False, is_staff=False)
    if last:
        raise NotAnAdmin(
            gettext("%(user)s is the only site admin; make somebody else one first.") % {"user": user.label}
        )
