"""The only ways from a person to a project or a task: the look-up is the permission check."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext

from annotation import sealing
from annotation.lookups import Lookup
from annotation.models import Project, Role, Task, User
from annotation.sealing import Of

ANY_ROLE = tuple(Role.values)
BIGGEST_ID = 2**63 - 1  # what is in an address may be any number
ROLE = """(SELECT member.role FROM annotation_membership AS member
    WHERE member.user_id = %(user)s AND member.project_id = project.id)"""
PROJECT = Lookup(
    {"project": Project},
    f"SELECT {{row}}, {ROLE} FROM annotation_project AS project"  # noqa: S608
    " WHERE project.slug = %(slug)s AND NOT project.is_staging",
)
TASK = Lookup(
    {"task": Task, "project": Project},
    f"SELECT {{row}}, {ROLE} FROM annotation_task AS task"  # noqa: S608
    " JOIN annotation_project AS project ON project.id = task.project_id WHERE task.id = %(task)s",
)


def project_for(user: User, slug: str, roles: tuple[str, ...] = ANY_ROLE) -> Project:
    """The project, with `my_role` set; 404 for a stranger, PermissionDenied for a member without one of `roles`.

    One statement. A site admin has the role of a manager everywhere.
    """
    found = PROJECT.first(slug=slug, user=user.pk)
    if found is None:
        raise Http404(gettext("There is no such project."))
    project: Project
    project, role = found
    project.my_role = _checked_role(user, role, roles, "project")
    return project


def task_for(user: User, number: int, roles: tuple[str, ...] = ANY_ROLE) -> Task:
    """The task and its project, with `task.project.my_role` set; refused as `project_for` refuses.

    `number` is its id or what stands for that; a check is mixed in where an annotator must not use the former.
    """
    found = TASK.first(task=sealing.plain(Of.TASK, number), user=user.pk) if number <= BIGGEST_ID else None
    if found is None:
        raise Http404(gettext("There is no such task."))
    task: Task
    task, task.project, role = found
    task.project.my_role = _checked_role(user, role, roles, "task")
    check_number(task.project, number)
    return task


def check_number(project: Project, number: int) -> None:
    """404 for the id of a task where this person may only use what stands for it."""
    if not sealing.takes(project, number):
        raise Http404(gettext("There is no such task."))


def _checked_role(user: User, role: str | None, roles: tuple[str, ...], what: str) -> str:
    if user.is_superuser:
        return Role.MANAGER
    if role is None:
        raise Http404(gettext("There is no such %(what)s.") % {"what": what})
    if role not in roles:
        raise PermissionDenied(
            gettext("Your role here is %(role)s; this needs %(roles)s.")
            % {"role": role, "roles": gettext(" or ").join(roles)}
        )
    return role
