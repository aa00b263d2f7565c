"""The only ways from a person to a project or a task: the look-up is the permission check."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404

from annotation.models import Membership, Project, Role, Task, User

ANY_ROLE = tuple(Role.values)


def project_for(user: User, slug: str, roles: tuple[str, ...] = ANY_ROLE) -> Project:
    """The project, with `my_role` set; 404 for a stranger, PermissionDenied for a member without one of `roles`.

    One statement. A site admin has the role of a manager everywhere.
    """
    project = _with_role(Project.objects.filter(is_staging=False), user, "pk").filter(slug=slug).first()
    if project is None:
        raise Http404("There is no such project.")
    project.my_role = _checked_role(user, project.found_role, roles, "project")
    return project


def task_for(user: User, task_id: int, roles: tuple[str, ...] = ANY_ROLE) -> Task:
    """The task and its project, with `task.project.my_role` set; refused as `project_for` refuses."""
    tasks = Task.objects.select_related("project")
    task = _with_role(tasks, user, "project").filter(pk=task_id).first()
    if task is None:
        raise Http404("There is no such task.")
    task.project.my_role = _checked_role(user, task.found_role, roles, "task")
    return task


def _with_role(rows: QuerySet[Any], user: User, reference: str) -> QuerySet[Any]:
    role = Membership.objects.filter(user=user, project=OuterRef(reference)).values("role")[:1]
    return rows.annotate(found_role=Subquery(role))


def _checked_role(user: User, role: str | None, roles: tuple[str, ...], what: str) -> str:
    if user.is_superuser:
        return Role.MANAGER
    if role is None:
        raise Http404(f"There is no such {what}.")
    if role not in roles:
        raise PermissionDenied(f"Your role here is {role}; this needs {' or '.join(roles)}.")
    return role
