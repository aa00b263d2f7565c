"""The statements that find and take a free slot: a few steps of an index each, however many tasks there are.

They are written in SQL because the slot is found and taken in one statement, which no ORM call does: the UPDATE is
guarded by the task's own columns, and only what it changed is handed out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from django.db import connection

from annotation.models import Project, Task, User


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a project's queue: high priority first, then low rank, then low id."""

    priority: int
    rank: int
    task_id: int


START = Place(priority=2**31 - 1, rank=0, task_id=0)

# A task is handed to a person once; only a lease that ran out may be taken up again by the same one. It is asked as a
# value, because PostgreSQL may turn NOT EXISTS into a join over all that the person has ever held.
UNTOUCHED = """(
    SELECT held.id FROM annotation_assignment AS held
    WHERE held.task_id = task.id AND held.annotator_id = %(annotator)s AND held.state <> 'expired'
) IS NULL"""

# The bounds are literals, not parameters: only then does SQLite see that the partial indexes apply.
FREE = "task.project_id = %(project)s AND task.pool = 0 AND task.open_slots > 0"
OPEN = f"FROM annotation_task AS task WHERE {FREE} AND {UNTOUCHED}"
IN_ORDER = "ORDER BY task.priority DESC, task.rank, task.id LIMIT 1"

# The arms are asked one after the other and the first hit ends it: what came back, then what lies past the cursor, from
# near to far. One arm with OR between them would walk the index from its start. What "past the cursor" is among equal
# priorities is said so that each database walks task_open: SQLite does not see the row id in (rank, id) > (?, ?), and
# PostgreSQL may walk the primary key, over closed tasks and other projects, when only ids are compared.
SAME = f"SELECT task.id {OPEN} AND task.priority = %(priority)s"
CAME_BACK = f"SELECT task.id {OPEN} AND task.reopened {IN_ORDER}"
LOWER = f"SELECT task.id {OPEN} AND task.priority < %(priority)s {IN_ORDER}"
PAST_THE_CURSOR = {
    "sqlite": (
        f"{SAME} AND task.rank = %(rank)s AND task.id > %(task_id)s ORDER BY task.id LIMIT 1",
        f"{SAME} AND task.rank > %(rank)s ORDER BY task.rank, task.id LIMIT 1",
    ),
    "postgresql": (f"{SAME} AND (task.rank, task.id) > (%(rank)s, %(task_id)s) ORDER BY task.rank, task.id LIMIT 1",),
}

FIRST_UNTOUCHED = f"SELECT task.id, task.priority, task.rank {OPEN} {IN_ORDER}"


def probe_sql() -> str:
    """The id of the next task for one annotator; on PostgreSQL its row comes locked and locked rows are passed over."""
    lock = " FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    probes = (CAME_BACK, *PAST_THE_CURSOR[connection.vendor], LOWER)
    arms = (f"SELECT id FROM ({arm}{lock}) AS arm_{number}" for number, arm in enumerate(probes))  # noqa: S608
    return f"SELECT id FROM ({' UNION ALL '.join(arms)}) AS probe LIMIT 1"  # noqa: S608


def parameters(project: Project, user: User, place: Place) -> dict[str, int | None]:
    return {"project": project.pk, "annotator": user.pk} | asdict(place)


def claim(project: Project, user: User, place: Place) -> Task | None:
    """The next task after `place` for `user`, one of its slots taken; None when no slot was found."""
    take = "UPDATE annotation_task SET open_slots = open_slots - 1"
    sql = f"{take} WHERE id = ({probe_sql()}) AND open_slots > 0 RETURNING *"
    claimed = list(Task.objects.raw(sql, parameters(project, user, place)))
    return claimed[0] if claimed else None


def first_untouched(project: Project, user: User) -> Place | None:
    """Just before the first free task that `user` never had, wherever the cursor is: one walk over all open tasks."""
    found = list(Task.objects.raw(FIRST_UNTOUCHED, parameters(project, user, START)))
    return Place(found[0].priority, found[0].rank, found[0].pk - 1) if found else None
