"""Who works here, in which role, and the tokens their programs use."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotation.lookups import Lookup, moment

TOKEN_PREFIX = "hone_"  # noqa: S105  lets secret scanners recognise a leaked token


class Role(models.TextChoices):
    ANNOTATOR = "annotator", gettext_noop("Annotator")
    REVIEWER = "reviewer", gettext_noop("Reviewer")
    TRAINER = "trainer", gettext_noop("Trainer")
    MANAGER = "manager", gettext_noop("Manager")
    READER = "reader", gettext_noop("Reader")


# What each role may do in its project. A site admin (is_superuser) may do everything everywhere.
JUDGES = (Role.ANNOTATOR, Role.REVIEWER, Role.MANAGER)
SEES_NAMES = (Role.REVIEWER, Role.MANAGER)
TRAINS = (Role.TRAINER, Role.MANAGER)
READS_DATA = (Role.READER, Role.REVIEWER, Role.TRAINER, Role.MANAGER)
MANAGES = (Role.MANAGER,)


class User(AbstractUser):
    """A person, a program's account, or a simulated rater, which is marked as one wherever it shows."""

    is_simulated = models.BooleanField(default=False)
    preferences = models.JSONField(default=dict, blank=True)  # theme, single_keys, one_key, differences

    @property
    def label(self) -> str:
        return self.get_full_name() or self.username


class Membership(models.Model):
    """One person's one role in one project, and whether they may judge there now.

    The first `qualification_size` judgements of an annotator are the qualification; `gold_recent` holds a 1 or a 0 for
    each of the latest hidden checks, oldest first, since they began or were let back in.
    """

    class State(models.TextChoices):
        ACTIVE = "active", gettext_noop("Active")
        FAILED = "failed", gettext_noop("Did not qualify")
        PAUSED = "paused", gettext_noop("Paused")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey("annotation.Project", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    qualified_at = models.DateTimeField(null=True, blank=True)
    qualification_done = models.PositiveSmallIntegerField(default=0)  # of this try
    qualification_right = models.PositiveSmallIntegerField(default=0)
    qualification_try = models.PositiveSmallIntegerField(default=1)
    gold_done = models.PositiveIntegerField(default=0)
    gold_right = models.PositiveIntegerField(default=0)
    gold_recent = models.CharField(max_length=100, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "project"], name="one_role_per_person_and_project"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
            models.CheckConstraint(
                condition=models.Q(state__in=["active", "failed", "paused"]), name="membership_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


class ApiToken(models.Model):
    """A bearer token: only its hash is kept, it expires, and its scope is `read` or `write`."""

    class Scope(models.TextChoices):
        READ = "read", gettext_noop("Read")
        WRITE = "write", gettext_noop("Read and write")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80, blank=True)
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.WRITE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name or 'token'} of {self.user}"

    @staticmethod
    def digest_of(secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()

    @classmethod
    def find(cls, secret: str) -> ApiToken | None:
        """The living token with this secret; a long random secret needs no salt, so one indexed look-up finds it."""
        found = ALIVE.first(digest=cls.digest_of(secret), now=moment(timezone.now()))
        if found is None:
            return None
        token: ApiToken
        token, token.user = found
        return token

    @classmethod
    def issue(cls, user: User, *, days: int = 90, **fields: Any) -> tuple[ApiToken, str]:
        """A new token and its secret, which is shown now and never again."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        expires = timezone.now() + timedelta(days=days)
        return cls.objects.create(user=user, digest=cls.digest_of(secret), expires_at=expires, **fields), secret


ALIVE = Lookup(
    {"token": ApiToken, "person": User},
    "SELECT {row} FROM annotation_apitoken AS token JOIN annotation_user AS person ON person.id = token.user_id"
    " WHERE token.digest = %(digest)s AND token.expires_at > %(now)s AND person.is_active",
)
