"""Handing out and storing by one statement each, which is its own transaction, where the database has such statements.

The queue and judging do the same by a statement after the other. On PostgreSQL each of them is a way to the server and
back, and so are begin and commit, which together cost more than the work. Rows are locked in the same order.

Every part changes rows by a guard on their own columns. What must not happen would put NULL into a column that refuses
it, and the IntegrityError undoes all of the statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, models, transaction
from django.utils import timezone

from annotation import claiming
from annotation.claiming import Place
from annotation.lookups import Insert, Lookup
from annotation.models import Annotation, Assignment, Task

# A lease of one's own that ran out is taken up again; any other row that is there already is somebody's newer word.
HAND_OUT = """
WITH taken AS ({taking}),
moved AS (
    UPDATE annotation_cursor AS place SET turn = place.turn + 1, epoch = %(epoch)s, gold_rank = %(gold_rank)s,
        priority = CASE WHEN taken.reopened OR %(stays)s THEN %(at_priority)s ELSE taken.priority END,
        rank = CASE WHEN taken.reopened OR %(stays)s THEN %(at_rank)s ELSE taken.rank END,
        task_id = CASE WHEN taken.reopened OR %(stays)s THEN %(at_task)s ELSE taken.id END
    FROM taken WHERE place.id = %(cursor)s AND place.turn = %(turn)s
    RETURNING place.annotator_id
),
texts AS (
    SELECT response.id, response.text FROM annotation_response AS response
    WHERE response.task_id = (SELECT id FROM taken)
),
seat AS (
    INSERT INTO annotation_assignment AS own (
        task_id, project_id, annotator_id, state, lease_until, leased_at, shown, skip_reason, reserved, returned
    )
    SELECT taken.id, taken.project_id, moved.annotator_id, 'leased', %(until)s, %(now)s,
        (SELECT coalesce(jsonb_agg(texts.id ORDER BY random()), '[]') FROM texts), '', false, ''
    FROM taken LEFT JOIN moved ON true
    ON CONFLICT (task_id, annotator_id) DO UPDATE SET state = CASE WHEN own.state = 'expired' THEN 'leased' END,
        lease_until = excluded.lease_until, leased_at = excluded.leased_at
    RETURNING own.*
)
SELECT {row}, (SELECT array_agg(texts.id ORDER BY texts.id) FROM texts),
    (SELECT array_agg(texts.text ORDER BY texts.id) FROM texts)
FROM seat CROSS JOIN taken AS task
"""
STORING = """
WITH given AS (
    UPDATE annotation_assignment SET state = 'submitted', draft = NULL, returned = ''
    WHERE id = %(seat)s AND state = %(state)s RETURNING task_id
),
counted AS (
    UPDATE annotation_task AS task SET done = task.done + 1 FROM given WHERE task.id = given.task_id
)
{into} SELECT {values} FROM given RETURNING id
"""


def is_possible() -> bool:
    return connection.vendor == "postgresql"


def hand_out(probe: dict[str, int | None], *, at: Place, drawn: bool, **values: object) -> Assignment | None:
    """The lease of the task that is found by `probe`, and the cursor moved to it from `at`, unless it was drawn.

    None when no task is found; IntegrityError when another request of this person came first.
    """
    place = {"at_priority": at.priority, "at_rank": at.rank, "at_task": at.task_id, "stays": drawn}
    with _own_transaction():
        found = (DRAWN if drawn else WALKED).first(**probe, **place, now=timezone.now(), **values)
    if found is None:
        return None
    assignment: Assignment
    assignment, assignment.task, ids, texts = found
    assignment.task.__dict__["texts"] = dict(zip(ids or [], texts or [], strict=True))
    return assignment


def store(annotation: Annotation, *, seat: int, state: str) -> bool:
    """Whether the annotation is stored, which gets its id, for a place that is given up; not if that was just done."""
    with _own_transaction():
        return STORED.save(annotation, seat=seat, state=state)


@contextmanager
def _own_transaction() -> Iterator[None]:
    """Nothing where the statement is a transaction by itself; within one, its failure must be known to that."""
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic(savepoint=False):
        yield


def _handing_out(probe: str) -> str:
    return HAND_OUT.replace("{taking}", claiming.taking(probe).replace("{row}", "*"))


TABLES: dict[str, type[models.Model]] = {"seat": Assignment, "task": Task}
WALKED = Lookup(TABLES, lambda: _handing_out(claiming.probe_sql()))
DRAWN = Lookup(TABLES, lambda: _handing_out(claiming.draw_sql()))
STORED = Insert(Annotation, STORING)
