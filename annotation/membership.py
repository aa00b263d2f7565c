"""Who works in a project, in which role."""

from __future__ import annotations

from annotation.models import Membership, Project, Role, User
from annotation.writes import write_transaction


class LastManager(Exception):
    """A project keeps somebody who manages it."""


def give_role(project: Project, user: User, role: str) -> tuple[Membership, bool]:
    """The person's membership in its new role, and whether they are new here; LastManager when nobody would manage."""
    with write_transaction():
        managers = list(
            project.memberships.select_for_update().filter(role=Role.MANAGER).values_list("user", flat=True)
        )
        if role == Role.MANAGER or managers != [user.pk]:
            return Membership.objects.update_or_create(user=user, project=project, defaults={"role": role})
    raise LastManager(f"{user.label} is the only manager here; make somebody else one first.")
