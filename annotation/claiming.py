"""The statements that find and take a free slot: a few steps of an index each, however many tasks there are.

They are written in SQL because the slot is found and taken in one statement, which no ORM call does: the UPDATE is
guarded by the task's own columns, and only what it changed is handed out.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from annotation.lookups import Lookup
from annotation.models import Pool, Project, Task, User
from annotation.models.tasks import MAX_RANK


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a project's queue: high priority first, then low rank, then low id."""

    priority: int
    rank: int
    task_id: int


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a draw looks among the ranks, and how it orders what it finds there."""

    point: int
    factor: int


START = Place(priority=2**31 - 1, rank=0, task_id=0)
NO_TURN = -1  # the `start` of those who go by rank from the lowest; the others begin at a rank of their own

# A task is handed to a person once; only a lease that ran out may be taken up again by the same one. It is asked as a
# value, because PostgreSQL may turn NOT EXISTS into a join over all that the person has ever held, and as a yes or no,
# of which it expects every second: where it expects few (as of IS NULL) it fetches and sorts all that is open.
UNTOUCHED = """NOT coalesce((
    SELECT true FROM annotation_assignment AS held
    WHERE held.task_id = task.id AND held.annotator_id = %(annotator)s AND held.state <> 'expired'
), false)"""
NEVER_HELD = UNTOUCHED.replace(" AND held.state <> 'expired'", "")

# The bounds are literals, not parameters: only then does SQLite see that the partial indexes apply.
APART = "FROM annotation_task AS task WHERE task.project_id = %(project)s"
FREE = "task.project_id = %(project)s AND task.pool = 0 AND task.open_slots > 0"
OPEN = f"FROM annotation_task AS task WHERE {FREE} AND {UNTOUCHED}"
IN_ORDER = "ORDER BY task.priority DESC, task.rank, task.id LIMIT 1"
BY_RANK = "ORDER BY task.rank, task.id LIMIT 1"

# The arms are asked one after the other and the first hit ends it: what came back, then what lies past the cursor, from
# near to far. One arm with OR between them would walk the index from its start. What "past the cursor" is among equal
# priorities is said so that each database walks task_open: SQLite does not see the row id in (rank, id) > (?, ?), and
# PostgreSQL may walk the primary key, over closed tasks and other projects, when only ids are compared.
# Each priority is walked from the person's start to the highest rank and then from the lowest to that start: `upto`
# ends the part in which the cursor is, `wrap` the part that follows it.
SAME = f"SELECT task.id {OPEN} AND task.priority = %(priority)s"
CAME_BACK = f"SELECT task.id {OPEN} AND task.reopened {IN_ORDER}"
PAST_THE_CURSOR = {
    "sqlite": (
        f"{SAME} AND task.rank = %(rank)s AND task.id > %(task_id)s ORDER BY task.id LIMIT 1",
        f"{SAME} AND task.rank > %(rank)s AND task.rank <= %(upto)s {BY_RANK}",
    ),
    "postgresql": (f"{SAME} AND (task.rank, task.id) > (%(rank)s, %(task_id)s) AND task.rank <= %(upto)s {BY_RANK}",),
}
WRAPPED = f"{SAME} AND task.rank <= %(wrap)s {BY_RANK}"
NEXT_PRIORITY = f"(SELECT task.priority {OPEN} AND task.priority < %(priority)s {IN_ORDER})"
LOWER = (
    f"SELECT task.id {OPEN} AND task.priority = {NEXT_PRIORITY} AND task.rank > %(start)s {BY_RANK}",
    f"SELECT task.id {OPEN} AND task.priority = {NEXT_PRIORITY} AND task.rank <= %(start)s {BY_RANK}",
)

# In random order a person's next task is drawn from those about a point that nobody else has at that turn, so that each
# goes through the queue in a permutation of their own. The window is an arc of a circle: a project smaller than it is
# drawn from evenly, and a larger one nearly so, because the gaps between ranks even out over so many.
WINDOW = 32
EQUALS = f"SELECT task.id FROM annotation_task AS task WHERE {FREE} AND task.priority = %(priority)s"  # noqa: S608
AHEAD, BEHIND = (
    f"SELECT id FROM ({EQUALS} AND task.rank {side} %(point)s ORDER BY task.rank, task.id LIMIT {WINDOW})"  # noqa: S608
    for side in (">=", "<")
)
ABOUT = f"task.id IN ({AHEAD} AS ahead UNION ALL {BEHIND} AS behind LIMIT {WINDOW})"
SCATTERED = f"ORDER BY (CAST(task.rank AS bigint) * %(factor)s) %% {MAX_RANK}, task.id LIMIT 1"
DRAWN = f"SELECT task.id {APART} AND {ABOUT} AND task.open_slots > 0 AND {UNTOUCHED} {SCATTERED}"

FIRST_UNTOUCHED = f"SELECT task.id, task.priority, task.rank {OPEN} {IN_ORDER}"

# Tasks that check people have no slots: everybody may get each of them once.
CHECKS = {
    pool: tuple(
        f"SELECT task.* {APART} AND task.pool = {pool.value} AND {once} AND {bounds} {BY_RANK}"
        for bounds in ("task.rank > %(rank)s AND task.rank <= %(upto)s", "task.rank <= %(wrap)s")
    )
    for pool, once in ((Pool.GOLD, NEVER_HELD), (Pool.QUALIFICATION, UNTOUCHED))
}


def probe_sql() -> str:
    """The id of the next task for one annotator; on PostgreSQL its row comes locked and locked rows are passed over."""
    return _first_of(CAME_BACK, *PAST_THE_CURSOR[connection.vendor], WRAPPED, *LOWER)


def draw_sql() -> str:
    """The same for one who goes in random order: what came back, else one of those about the spot that is drawn."""
    return _first_of(CAME_BACK, DRAWN)


def _first_of(*probes: str) -> str:
    lock = " FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    arms = (f"SELECT id FROM ({arm}{lock}) AS arm_{number}" for number, arm in enumerate(probes))  # noqa: S608
    return f"SELECT id FROM ({' UNION ALL '.join(arms)}) AS probe LIMIT 1"  # noqa: S608


def check_sql(pool: Pool) -> str:
    """The next task of `pool` for one annotator."""
    arms = (f"SELECT * FROM ({arm}) AS arm_{number}" for number, arm in enumerate(CHECKS[pool]))  # noqa: S608
    return f"SELECT * FROM ({' UNION ALL '.join(arms)}) AS probe LIMIT 1"  # noqa: S608


def parameters(project: Project, user: User, place: Place, start: int = NO_TURN) -> dict[str, int | None]:
    first_part = place.rank >= start
    return {
        "project": project.pk,
        "annotator": user.pk,
        "priority": place.priority,
        "rank": place.rank,
        "task_id": place.task_id,
        "start": start,
        "upto": MAX_RANK if first_part else start,
        "wrap": start if first_part else NO_TURN,
    }


def draw_parameters(project: Project, user: User, priority: int, spot: Spot) -> dict[str, int | None]:
    about: dict[str, int | None] = {"point": spot.point, "factor": spot.factor}
    return {"project": project.pk, "annotator": user.pk, "priority": priority} | about


def claim(project: Project, user: User, place: Place, start: int = NO_TURN) -> Task | None:
    """The next task after `place` for `user`, one of its slots taken; None when no slot was found."""
    return _only(CLAIM.first(**parameters(project, user, place, start)))


def draw(project: Project, user: User, priority: int, spot: Spot) -> Task | None:
    """An open task of this priority about `spot` that `user` never had, one of its slots taken.

    None when they have had all of the few that are looked at: then most of what is open is no longer theirs to judge,
    and `claim`, whose cursor passes each task once, costs less than drawing again.
    """
    return _only(DRAW.first(**draw_parameters(project, user, priority, spot)))


def taking(probe: str) -> str:
    """The statement that takes a slot of the task that `probe` finds, and gives its `{row}`."""
    take = "UPDATE annotation_task SET open_slots = open_slots - 1"
    return f"{take} WHERE id = ({probe}) AND open_slots > 0 RETURNING {{row}}"


def _only(found: tuple[Task, ...] | None) -> Task | None:
    return found[0] if found else None


CLAIM = Lookup({"": Task}, lambda: taking(probe_sql()))
DRAW = Lookup({"": Task}, lambda: taking(draw_sql()))


def next_check(project: Project, user: User, pool: Pool, *, after: int, start: int) -> Task | None:
    """The next task of `pool` that `user` has not had, from rank `after` on, round to rank `start`."""
    place = Place(0, after, 0)
    found = list(Task.objects.raw(check_sql(pool), parameters(project, user, place, start)))
    return found[0] if found else None


def first_untouched(project: Project, user: User) -> Place | None:
    """Just before the first free task that `user` never had, wherever the cursor is: one walk over all open tasks."""
    found = list(Task.objects.raw(FIRST_UNTOUCHED, parameters(project, user, START)))
    return Place(found[0].priority, found[0].rank, found[0].pk - 1) if found else None
