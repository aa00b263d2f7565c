"""Inviting by link: a secret that is shown once, for one role, for a while and for so many people."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext

from annotation import membership
from annotation.models import Invitation, Membership, Project, User
from annotation.writes import write_transaction

MOST_DAYS, MOST_USES = 90, 1000


class NotInvited(Exception):
    """The link lets nobody in (any more), in one sentence."""


def invite(project: Project, *, by: User, role: str, days: int = 7, uses: int = 1) -> tuple[Invitation, str]:
    """A new link and its secret, which is shown now and never again."""
    if not membership.may_give(by, project, role):
        raise NotInvited(gettext("You may not give this role here."))
    secret = secrets.token_urlsafe(24)
    made = Invitation.objects.create(
        project=project,
        role=role,
        digest=digest_of(secret),
        most_uses=min(max(uses, 1), MOST_USES),
        created_by=by,
        expires_at=timezone.now() + timedelta(days=min(max(days, 1), MOST_DAYS)),
    )
    return made, secret


def find(secret: str) -> Invitation:
    """The open invitation behind a link; NotInvited when it is used up, revoked, too old or was never made."""
    rows = Invitation.objects.open().select_related("project", "created_by")
    found = rows.filter(digest=digest_of(secret)).first()
    if (
        found is None
        or found.project.is_archived
        or not membership.may_give(found.created_by, found.project, found.role)
    ):
        raise NotInvited(gettext("This link is used up, too old, or was taken back. Ask for a new one."))
    return found


def join(invitation: Invitation, user: User) -> Membership:
    """The person's membership; who is a member already keeps their role, and the link is not used."""
    if (already := invitation.project.memberships.filter(user=user).first()) is not None:
        return already
    made = None
    with write_transaction():
        # The guarded UPDATE is the lock: of two people at the last use one changes no row.
        if Invitation.objects.open().filter(pk=invitation.pk).update(uses=F("uses") + 1):
            made, _ = Membership.objects.get_or_create(
                user=user, project=invitation.project, defaults={"role": invitation.role}
            )
    if made is None:
        raise NotInvited(gettext("Somebody else was first: this link is used up. Ask for a new one."))
    return made


def revoke(invitation: Invitation) -> None:
    Invitation.objects.filter(pk=invitation.pk).update(revoked=True)


def digest_of(secret: str) -> str:
    """A long random secret needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
