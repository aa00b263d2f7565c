"""What one statement tells about a person in a project: what they hold, how far they are, and if they may judge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext

from annotation import draws
from annotation.claiming import NO_TURN, START, Place
from annotation.draws import Turn
from annotation.models import Kind, Membership, Order, Project, Role, User
from annotation.prepared import prepared_cursor

# Written in SQL because composing it takes the ORM longer than answering it the database, and every judgement asks it.
COLUMNS = (
    "kind", "epoch", "is_archived", "lease_minutes", "order", "gold_share", "repeat_share", "repeat_after",
    "qualification_size", "qualification_bar", "held__pk", "held__task", "cursor__pk", "cursor__turn", "cursor__epoch",
    "cursor__priority", "cursor__rank", "cursor__task_id", "cursor__gold_rank", "member__role", "member__state",
    "member__qualified_at", "member__qualification_done", "member__qualification_right", "member__qualification_try",
    "repeat__pk", "repeat__task", "assigned",
)  # fmt: skip
STANDING = """
SELECT project.kind, project.epoch, project.is_archived, project.lease_minutes, project."order", project.gold_share,
    project.repeat_share, project.repeat_after, project.qualification_size, project.qualification_bar,
    held.id, held.task_id, place.id, place.turn, place.epoch, place.priority, place.rank, place.task_id,
    place.gold_rank, member.role, member.state, member.qualified_at, member.qualification_done,
    member.qualification_right, member.qualification_try, again.id, again.task_id,
    (SELECT seat.id FROM annotation_assignment AS seat WHERE seat.project_id = project.id
        AND seat.annotator_id = %(annotator)s AND seat.state = 'assigned' ORDER BY seat.id LIMIT 1)
FROM annotation_project AS project
LEFT JOIN annotation_cursor AS place ON place.project_id = project.id AND place.annotator_id = %(annotator)s
LEFT JOIN annotation_assignment AS held
    ON held.project_id = project.id AND held.annotator_id = %(annotator)s AND held.state = 'leased'
LEFT JOIN annotation_membership AS member ON member.project_id = project.id AND member.user_id = %(annotator)s
LEFT JOIN annotation_repeatcheck AS again
    ON again.project_id = project.id AND again.annotator_id = %(annotator)s AND again.state = 'open'
WHERE project.id = %(project)s ORDER BY held.leased_at, held.id
"""


class NotNow(Exception):
    """This person may not judge here at the moment; `kind` is the last part of the problem's type."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Standing:
    epoch: int
    archived: bool
    lease: timedelta
    cursor_id: int | None
    turn: int
    turn_brings: Turn
    mixed: bool  # whether turns bring checks, too, which the time of a reply must not tell apart
    repeat_after: int
    place: Place
    start: int  # where a walk of theirs begins in each priority
    drawn: bool  # whether they go in random order and the cursor stands at a priority already
    gold_rank: int
    qualifying: bool
    qualification_start: int
    held: list[tuple[int, int]]  # (assignment, task), the one to show first in front
    assigned: int | None  # the first assignment that a lead gave them
    repeat: tuple[int, int] | None  # (repeat check, task) that they have not answered


def standing_of(project: Project, user: User) -> Standing:
    """Everything that decides what `user` gets next; NotNow when they may not judge."""
    with prepared_cursor() as cursor:
        cursor.execute(STANDING, {"project": project.pk, "annotator": user.pk})
        found = [dict(zip(COLUMNS, row, strict=True)) for row in cursor.fetchall()]
    if not found:
        raise Project.DoesNotExist(f"Project {project.pk} is gone.")
    row = found[0]
    _check_state(row)
    current = row["cursor__epoch"] == row["epoch"]
    start = draws.start_of(project.pk, user.pk)
    turn = row["cursor__turn"] or 0
    repeats = row["repeat_share"] if row["kind"] != Kind.DEMONSTRATION else 0.0
    return Standing(
        epoch=row["epoch"],
        archived=bool(row["is_archived"]),
        lease=timedelta(minutes=row["lease_minutes"]),
        cursor_id=row["cursor__pk"],
        turn=turn,
        turn_brings=draws.turn_of(project.pk, user.pk, turn, gold_share=row["gold_share"], repeat_share=repeats),
        mixed=row["gold_share"] + repeats > 0,
        repeat_after=row["repeat_after"],
        place=Place(row["cursor__priority"], row["cursor__rank"], row["cursor__task_id"]) if current else START,
        start=start if row["order"] == Order.RANDOM else NO_TURN,
        drawn=row["order"] == Order.RANDOM and current and row["cursor__priority"] != START.priority,
        gold_rank=row["cursor__gold_rank"] if current and row["cursor__gold_rank"] is not None else start,
        qualifying=is_qualifying(row["member__role"], row["qualification_size"], row["member__qualified_at"]),
        qualification_start=draws.start_of(project.pk, user.pk, row["member__qualification_try"] or 0),
        held=[(one["held__pk"], one["held__task"]) for one in found if one["held__pk"] is not None],
        assigned=row["assigned"],
        repeat=(row["repeat__pk"], row["repeat__task"]) if row["repeat__pk"] is not None else None,
    )


def is_qualifying(role: str | None, size: int, qualified_at: object) -> bool:
    """Whether a member with this role still has to pass the project's qualification: annotators have to, once."""
    return role == Role.ANNOTATOR and size > 0 and qualified_at is None


def _check_state(row: dict[str, object]) -> None:
    if row["member__role"] != Role.ANNOTATOR:
        return
    if row["member__state"] == Membership.State.PAUSED:
        raise NotNow(
            "paused",
            gettext(
                "You are paused here, because too many of your latest answers differ from known ones. "
                "Whoever leads this project has been told and decides how to go on."
            ),
        )
    if row["member__state"] == Membership.State.FAILED and row["qualification_size"]:
        right, done = row["member__qualification_right"], row["member__qualification_done"]
        needed = f"{row['qualification_bar']:.0%}"
        raise NotNow(
            "not-qualified",
            gettext(
                "You did not pass the qualification: %(right)s of %(done)s answers were as expected and %(needed)s are "
                "needed. A manager of this project can let you try again."
            )
            % {"right": right, "done": done, "needed": needed},
        )
