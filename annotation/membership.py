"""Who works in a project, in which role."""

from __future__ import annotations

from django.utils.translation import gettext

from annotation import leases
from annotation.models import Membership, Project, Role, User
from annotation.models.people import MANAGES
from annotation.writes import write_transaction


class LastManager(Exception):
    """A project keeps somebody who manages it."""


def give_role(project: Project, user: User, role: str) -> tuple[Membership, bool]:
    """The person's membership in its new role, and whether they are new here; LastManager when nobody would manage."""
    with write_transaction():
        last = role != Role.MANAGER and manages_alone(project, user)
        if not last:
            return Membership.objects.update_or_create(user=user, project=project, defaults={"role": role})
    raise LastManager(
        gettext("%(user)s is the only manager here; make somebody else one first.") % {"user": user.label}
    )


def remove(project: Project, user: User) -> None:
    """Take the person's role away and free what they hold; what they judged stays. LastManager as `give_role`."""
    with write_transaction():
        last = manages_alone(project, user)
        if not last:
            project.memberships.filter(user=user).delete()
    if last:
        raise LastManager(
            gettext("%(user)s is the only manager here; make somebody else one first.") % {"user": user.label}
        )
    leases.release(user, project)


def manages_alone(project: Project, user: User) -> bool:
    """Whether nobody would manage the project without this person; inside a transaction, its managers are locked."""
    managers = project.memberships.filter(role=Role.MANAGER, user__is_active=True).select_for_update(of=("self",))
    return [seat.user_id for seat in managers] == [user.pk]


def may_give(user: User, project: Project, role: str) -> bool:
    """Whether the person may bring others into the project in this role."""
    if role not in Role.values or not user.is_active:
        return False
    return user.is_superuser or project.memberships.filter(user=user, role__in=MANAGES).exists()
