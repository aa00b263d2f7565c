"""Accounts of the people whose judgements an import brings in."""

from __future__ import annotations

from annotation.cleaning import CleaningError
from annotation.models import Annotation, Membership, Project, Role, User


class Raters:
    """Finds or makes the account of an annotator named in a file.

    A name without an account gets an inactive one without a password. A name that somebody already works under is taken
    only where that person belongs: else a project's manager could put words into a stranger's mouth.
    """

    def __init__(self, project: Project, by: User | None) -> None:
        self.project = project
        self.trusted = by is None or by.is_superuser
        self.known: dict[str, int | None] = {}

    def check(self, name: str, place: str = "annotations") -> None:
        """Refuses a name that belongs to an account outside this project."""
        if name not in self.known:
            self.known[name] = self._find(name, place)

    def _find(self, name: str, place: str) -> int | None:
        user = User.objects.filter(username=name).first()
        if user is None:
            return None
        if user.is_active and not self.trusted and not self._belongs(user):
            raise CleaningError(f"{place}.annotator", f"{name} has an account here but is no member of this project.")
        return user.pk

    def _belongs(self, user: User) -> bool:
        if user.memberships.filter(project=self.project).exists():
            return True
        return Annotation.objects.filter(project=self.project, annotator=user).exists()

    def account(self, name: str, staging: Project) -> int:
        """The id of the account under `name`; a new one is marked by a membership of the staging project."""
        self.check(name)
        if (found := self.known[name]) is not None:
            return found
        user, made = User.objects.get_or_create(username=name, defaults={"is_active": False})
        if made:
            user.set_unusable_password()
            user.save(update_fields=["password"])
            Membership.objects.create(user=user, project=staging, role=Role.ANNOTATOR)
        self.known[name] = user.pk
        return user.pk
