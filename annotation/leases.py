"""What a person holds, given back at once: when they leave a project or their account is closed."""

from __future__ import annotations

from annotation import queue
from annotation.models import Assignment, Project, User
from annotation.writes import write_transaction

HELD = (Assignment.State.LEASED, Assignment.State.ASSIGNED)


def release(user: User, project: Project | None = None) -> int:
    """How many tasks that the person held others may have now; drafts stay with the assignments."""
    mine = Assignment.objects.filter(annotator=user, state__in=HELD)
    if project is not None:
        mine = mine.filter(project=project)
    released = 0
    for pk, task_id in list(mine.values_list("pk", "task_id")):
        with write_transaction():
            held = Assignment.objects.filter(pk=pk, state__in=HELD)
            if held.update(state=Assignment.State.EXPIRED, reserved=False):
                queue.give_slot_back(task_id)
                released += 1
    return released
