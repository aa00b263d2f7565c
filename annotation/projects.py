"""How a project begins and how its rules change."""

from __future__ import annotations

from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext, ngettext

from annotation import rule_changes
from annotation.models import Membership, Project, Role, User
from annotation.models.people import MANAGES
from annotation.questions import check_questions
from annotation.templates import TEMPLATES
from annotation.writes import write_transaction

PLAIN = (
    "name", "question", "lease_minutes", "daily_goal", "is_archived", "four_eyes", "skip_to", "skip_limit",
    "repeat_share", "repeat_after", "agreement_bar", "gold_bar", "gold_window", "gold_feedback",
    "qualification_size", "qualification_bar",
)  # fmt: skip
RESERVED = {"new"}  # an address of ours


class ProjectError(Exception):
    """A project cannot be as asked; `errors` has one sentence a field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


def may_create(user: User) -> bool:
    """Site admins make projects, and so does whoever manages one already."""
    return user.is_superuser or user.memberships.filter(role__in=MANAGES).exists()


def create(
    *,
    by: User | None,
    name: str,
    kind: str = "",
    slug: str = "",
    guidelines: str = "",
    template: str = "",
    **fields: Any,
) -> Project:
    """A new project that `by` manages; without a slug it gets a free one made from its name.

    A template gives what is left out: the kind, the question, what is asked, the guidelines, the overlap.
    """
    if template:
        settings = TEMPLATES[template].settings()
        if kind and kind != settings["kind"]:
            raise ProjectError(
                {
                    "kind": gettext("The template %(template)s is of the kind %(kind)s.")
                    % {"template": template, "kind": settings["kind"]}
                }
            )
        kind, guidelines = settings.pop("kind"), guidelines or settings.pop("guidelines")
        given = {field: value for field, value in fields.items() if value not in ("", None)}
        fields |= {field: given.get(field, settings[field]) for field in ("question", "questions", "overlap")}
    if not kind:
        raise ProjectError({"kind": gettext("Must be given, or a template with it.")})
    questions = check_questions(kind, fields.pop("questions", {}))
    if slug and (slug in RESERVED or Project.objects.filter(slug=slug).exists()):
        raise ProjectError({"slug": gettext("%(slug)s is taken.") % {"slug": slug}})
    with write_transaction():
        project = Project.objects.create(
            slug=slug or free_slug(name), name=name, kind=kind, questions=questions, created_by=by, **fields
        )
        if by:
            Membership.objects.create(user=by, project=project, role=Role.MANAGER)
        if guidelines:
            project.write_guidelines(guidelines, by=by)
    return project


def change(project: Project, *, by: User, **fields: Any) -> Project:
    """The project with new rules: they hold from each annotator's next task on.

    A new overlap, order or share of gold holds for new tasks at once; where there are many tasks, those get it from the
    worker: see annotation.rule_changes.
    """
    kind = fields.get("kind", project.kind)
    if kind != project.kind and project.tasks.exists():
        raise ProjectError({"kind": gettext("Is fixed once there are tasks.")})
    if "questions" in fields or kind != project.kind:
        fields["questions"] = check_questions(kind, fields.get("questions", project.questions))
    _check_rules(project, fields)
    plain = {name: value for name, value in fields.items() if name in (*PLAIN, "kind", "questions")}
    rules = {name: value for name, value in fields.items() if name in rule_changes.NAMES}
    with write_transaction():
        Project.objects.filter(pk=project.pk).update(**plain)
        rule_changes.begin(project, by=by, **rules)
        guideline = project.guideline
        if "guidelines" in fields and fields["guidelines"] != (guideline.text if guideline else ""):
            project.write_guidelines(fields["guidelines"], by=by)
    project.refresh_from_db()
    return project


def _check_rules(project: Project, fields: dict[str, Any]) -> None:
    """ProjectError for rules that could not be kept with the tasks that are there."""
    size = fields.get("qualification_size", project.qualification_size)
    if size and size != project.qualification_size:
        there = project.tasks.to_qualify().count()
        if there < size:
            raise ProjectError(
                {
                    "qualification_size": ngettext(
                        "There is only %(there)s to qualify with; import tasks with gold and qualification set to "
                        "true first, or ask for fewer.",
                        "There are only %(there)s to qualify with; import tasks with gold and qualification set to "
                        "true first, or ask for fewer.",
                        there,
                    )
                    % {"there": there}
                }
            )


def free_slug(name: str) -> str:
    """A slug made from the name that no project has yet."""
    base = slugify(name)[:70] or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True)) | RESERVED
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(slug for slug in (base, *numbered) if slug not in taken)
