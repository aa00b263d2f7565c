"""How a project begins and how its rules change."""

from __future__ import annotations

from typing import Any

from django.utils.text import slugify

from annotation import tasks
from annotation.models import Membership, Project, Role, User
from annotation.models.people import MANAGES
from annotation.questions import check_questions
from annotation.writes import write_transaction

PLAIN = ("name", "question", "lease_minutes", "daily_goal", "is_archived")
RESERVED = {"new"}  # an address of ours


class ProjectError(Exception):
    """A project cannot be as asked; `errors` has one sentence a field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


def may_create(user: User) -> bool:
    """Site admins make projects, and so does whoever manages one already."""
    return user.is_superuser or user.memberships.filter(role__in=MANAGES).exists()


def create(*, by: User, name: str, kind: str, slug: str = "", guidelines: str = "", **fields: Any) -> Project:
    """A new project that `by` manages; without a slug it gets a free one made from its name."""
    questions = check_questions(kind, fields.pop("questions", {}))
    if slug and (slug in RESERVED or Project.objects.filter(slug=slug).exists()):
        raise ProjectError({"slug": f"{slug} is taken."})
    with write_transaction():
        project = Project.objects.create(
            slug=slug or free_slug(name), name=name, kind=kind, questions=questions, created_by=by, **fields
        )
        Membership.objects.create(user=by, project=project, role=Role.MANAGER)
        if guidelines:
            project.write_guidelines(guidelines, by=by)
    return project


def change(project: Project, *, by: User, **fields: Any) -> Project:
    """The project with new rules: they hold from each annotator's next task on, a new overlap for unopened tasks."""
    kind = fields.get("kind", project.kind)
    if kind != project.kind and project.tasks.exists():
        raise ProjectError({"kind": "Is fixed once there are tasks."})
    if "questions" in fields or kind != project.kind:
        fields["questions"] = check_questions(kind, fields.get("questions", project.questions))
    plain = {name: value for name, value in fields.items() if name in (*PLAIN, "kind", "questions")}
    with write_transaction():
        Project.objects.filter(pk=project.pk).update(**plain)
        if fields.get("overlap", project.overlap) != project.overlap:
            tasks.change_overlap(project, fields["overlap"])
        if fields.get("order", project.order) != project.order:
            tasks.change_order(project, fields["order"])
        now = project.guideline
        if "guidelines" in fields and fields["guidelines"] != (now.text if now else ""):
            project.write_guidelines(fields["guidelines"], by=by)
    project.refresh_from_db()
    return project


def free_slug(name: str) -> str:
    """A slug made from the name that no project has yet."""
    base = slugify(name)[:70] or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True)) | RESERVED
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(slug for slug in (base, *numbered) if slug not in taken)
