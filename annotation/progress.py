"""How far one person is in one project, without ever counting the project's tasks."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext

from annotation import claiming, draws
from annotation.claiming import CAME_BACK, IN_ORDER, OPEN, PAST_THE_CURSOR, WRAPPED
from annotation.draws import Turn
from annotation.models import Assignment, Pool, Project, User
from annotation.models.annotations import AnnotationQuerySet
from annotation.standing import NotNow, Standing, standing_of

MOST = 200  # tasks counted; that there are more is enough to know
TOGETHER = 20  # leases after which the number of items to do may change for gold items among them
REMEMBERED = 60  # seconds in which nobody with that many left counts again

LOWER = f"SELECT task.id {OPEN} AND task.priority < %(priority)s {IN_ORDER}"


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total`, which is a lower bound where there is `more`; `number` is that of the item on display."""

    done: int
    total: int
    number: int
    label: str
    more: bool = False
    is_goal: bool = False  # a day's, which may be reached and passed

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def reached(self) -> bool:
        """Whether the day's goal is; there may be more to do all the same."""
        return self.is_goal and self.done >= self.total

    def as_dict(self) -> dict[str, int | bool]:
        told = {"done": self.done, "total": self.total, "number": self.number, "more": self.more}
        return told | {"reached": self.reached}


def of(project: Project, user: User) -> Progress:
    """Today's goal where there is one, the qualification while it lasts, else what is done and left for this person."""
    own = Assignment.objects.filter(annotator=user, project=project)
    done = own.filter(state=Assignment.State.SUBMITTED).count()
    try:
        standing = standing_of(project, user)
    except NotNow:
        return Progress(done, done, done + 1, gettext("Your part of the project"))
    if standing.qualifying and (member := project.memberships.filter(user=user).first()):
        answered, size = member.qualification_done, project.qualification_size
        return Progress(answered, size, answered + 1, gettext("Your qualification"))
    if project.daily_goal:
        return Progress(
            today(user, [project]).count(), project.daily_goal, done + 1, gettext("Your goal for today"), is_goal=True
        )
    left = _left_at(project, user, standing)
    return Progress(done, done + left, done + 1, gettext("Your part of the project"), more=left >= MOST)


def today(user: User, projects: list[Project]) -> AnnotationQuerySet:
    """What `user` has judged there since midnight, in UTC as every day here."""
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return user.annotations.standing().filter(project__in=projects, created_at__gte=midnight)


def left(project: Project, user: User) -> tuple[int | None, bool]:
    """How many items `user` may still get here, and whether there are more; None while they may not judge."""
    try:
        standing = standing_of(project, user)
    except NotNow:
        return None, False
    if standing.qualifying and (member := project.memberships.filter(user=user).first()):
        return project.qualification_size - member.qualification_done, False
    counted = _left_at(project, user, standing)
    return counted, counted >= MOST


def _left_at(project: Project, user: User, standing: Standing) -> int:
    """What is left, in which a hidden check on display must not show as one item more than before."""
    counted = _left(project, user, standing.place, standing.start) + len(standing.held) + _assigned(project, user)
    if counted >= MOST:
        return counted
    return max(counted - _checks_lately(project, user, standing), len(standing.held))


def _checks_lately(project: Project, user: User, standing: Standing) -> int:
    """Gold items among the latest leases, which the sum of done and left takes in later and several at a time."""
    if not project.gold_share:
        return 0
    shares = {"gold_share": project.gold_share, "repeat_share": project.repeat_share}
    lately = range(standing.turn - standing.turn % TOGETHER, standing.turn)
    turns = [draws.turn_of(project.pk, user.pk, turn, **shares) for turn in lately]
    gold = turns.count(Turn.GOLD)
    # Once this person has had every gold item, such a turn brings work.
    if gold and claiming.next_check(project, user, Pool.GOLD, after=0, start=claiming.NO_TURN) is None:
        return 0
    return gold


def _left(project: Project, user: User, place: claiming.Place, start: int) -> int:
    """Open tasks that this person may still get, counted up to MOST; those behind their cursor are passed already."""
    key = f"many-left:{project.pk}:{user.pk}"
    if cache.get(key):
        return MOST
    parts = (CAME_BACK, *PAST_THE_CURSOR[connection.vendor], WRAPPED, LOWER)
    arms = [arm.removesuffix("LIMIT 1") + f"LIMIT {MOST}" for arm in parts]
    union = " UNION ".join(f"SELECT id FROM ({arm}) AS arm_{number}" for number, arm in enumerate(arms))  # noqa: S608
    with connection.cursor() as cursor:
        sql = f"SELECT COUNT(*) FROM (SELECT id FROM ({union}) AS found LIMIT {MOST}) AS bounded"  # noqa: S608
        cursor.execute(sql, claiming.parameters(project, user, place, start))
        count = int(cursor.fetchone()[0])
    if count >= MOST:
        cache.set(key, True, REMEMBERED)
    return count


def _assigned(project: Project, user: User) -> int:
    waiting = Assignment.objects.filter(project=project, annotator=user, state=Assignment.State.ASSIGNED)
    return len(waiting.values_list("pk")[:MOST])
