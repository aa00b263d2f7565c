"""Accounts that end: closed for a while, or their name taken away for good."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext

from annotation import leases, membership
from annotation.membership import LastManager
from annotation.models import (
    Adjudication,
    ApiToken,
    Assignment,
    Comment,
    ImportJob,
    Membership,
    Project,
    QualityReport,
    Response,
    Role,
    User,
)
from annotation.writes import write_transaction

BATCH = 500
TEXTS: tuple[tuple[type[Model], str], ...] = (
    (Comment, "body"),
    (Adjudication, "comment"),
    (Assignment, "returned"),
)


_renamers: list[Callable[[str, str], None]] = []


def register(rename: Callable[[str, str], None]) -> None:
    """Call `rename` too, with the name that is taken away and its pseudonym; another app keeps names of its own."""
    if rename not in _renamers:
        _renamers.append(rename)


class MayNot(Exception):
    """This account is not this person's to close, in one sentence."""


def may_close(by: User, user: User) -> bool:
    """Site admins may; so may a manager of every project that the person works in, unless it is an admin's account."""
    return user.pk in closable(by, [user])


def closable(by: User, users: Sequence[User]) -> set[int]:
    """The ids of those among `users` whose account `by` may close, asked at once."""
    others = [user for user in users if user.pk != by.pk]
    if by.is_superuser:
        return {user.pk for user in others}
    managed = by.memberships.filter(role=Role.MANAGER).values("project")
    seats = Membership.objects.filter(user__in=others).order_by()
    elsewhere = set(seats.exclude(project__in=managed).values_list("user", flat=True))
    theirs = set(seats.values_list("user", flat=True)) - elsewhere
    return {user.pk for user in others if user.pk in theirs and not user.is_superuser}


def deactivate(user: User, *, by: User) -> None:
    """Close the account: nobody signs in with it, sessions and tokens end, what it held is free; judgements stay."""
    _check(user, by)
    for seat in Membership.objects.filter(user=user, role=Role.MANAGER).select_related("project"):
        if not _has_another_manager(seat.project, user):
            raise LastManager(
                gettext("%(user)s is the only manager of %(project)s; make somebody else one first.")
                % {"user": user.label, "project": seat.project.name}
            )
    with write_transaction():
        User.objects.filter(pk=user.pk).update(is_active=False)
        ApiToken.objects.filter(user=user).delete()
    user.is_active = False
    _end_sessions(user)
    leases.release(user)


def reactivate(user: User, *, by: User) -> None:
    """Open a closed account again; one whose name was taken away has no password and stays closed."""
    _check(user, by)
    if not user.has_usable_password():
        raise MayNot(gettext("This account has no password any more, so nobody could sign in with it."))
    User.objects.filter(pk=user.pk).update(is_active=True)
    user.is_active = True


def pseudonymise(user: User, *, by: User) -> str:
    """Take the person's name away for good, wherever it stands, and close the account; gives the pseudonym.

    The pseudonym is the same whenever it is asked for and tells nobody whose it is. Judgements, decisions and remarks
    stay, under it; exports name it from now on.
    """
    if user.is_active:
        deactivate(user, by=by)
    _check(user, by)
    before, name = user.username, pseudonym(user)
    with write_transaction():
        user.username, user.first_name, user.last_name, user.email = name, "", "", ""
        user.preferences = {}
        user.set_unusable_password()
        user.save(update_fields=["username", "first_name", "last_name", "email", "preferences", "password"])
        Response.objects.filter(source=before).update(source=name)
        for job in ImportJob.objects.filter(options__annotator=before):
            ImportJob.objects.filter(pk=job.pk).update(options=job.options | {"annotator": name})
        QualityReport.objects.filter(key__contains=before).delete()  # comparisons of groups that somebody named
        for rename in _renamers:
            rename(before, name)
    for model, field in TEXTS:
        _replace_mentions(model, field, before, name)
    return name


def pseudonym(user: User) -> str:
    key = hmac.new(settings.SECRET_KEY.encode(), f"person {user.pk}".encode(), hashlib.sha256)
    return f"person-{key.hexdigest()[:10]}"


def _check(user: User, by: User) -> None:
    if not may_close(by, user):
        raise MayNot(
            gettext("Only a site admin, or who manages all projects this person works in, may close their account.")
        )


def _has_another_manager(project: Project, user: User) -> bool:
    with write_transaction():
        return not membership.manages_alone(project, user)


def _end_sessions(user: User) -> None:
    """Delete the account's sessions, so that none lives on when it is opened again."""
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator(BATCH):
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            session.delete()


def _replace_mentions(model: Any, field: str, before: str, name: str) -> None:
    """@before becomes @name in every text that people wrote to each other."""
    mention = re.compile(rf"@{re.escape(before)}(?![\w.@+-]*\w)")
    rows = model.objects.filter(**{f"{field}__contains": f"@{before}"})
    for pk, text in rows.values_list("pk", field).iterator(BATCH):
        model.objects.filter(pk=pk).update(**{field: mention.sub(f"@{name}", text)})
