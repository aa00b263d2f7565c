"""Tasks that a lead gives to named people: a slot of each is kept for its person until they get to it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import reduce
from itertools import cycle
from operator import or_
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.fields.json import KeyTransform
from django.utils.translation import gettext

from annotation import queue, tasks
from annotation.cleaning import CleaningError, strict_json
from annotation.models import Assignment, Project, Task, User
from annotation.models.people import JUDGES
from annotation.writes import write_transaction

ASSIGNED = Assignment.State.ASSIGNED
BATCH = 500  # tasks in one transaction


class AssignError(Exception):
    """Nothing was assigned; `errors` has one sentence a field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


@dataclass(frozen=True)
class Report:
    """What an assignment did: `assigned` seats; tasks left alone because they were full, or had been theirs before."""

    assigned: int
    full: int
    had_before: int


def people_named(project: Project, names: list[str]) -> list[User]:
    """The project's people with these user names; AssignError for one who does not judge here."""
    judging = project.memberships.filter(role__in=JUDGES, user__is_active=True).select_related("user")
    known = {member.user.username: member.user for member in judging}
    if not names:
        raise AssignError({"to": gettext("Name at least one person.")})
    if strangers := [name for name in names if name not in known]:
        raise AssignError(
            {"to": gettext("%(strangers)s does not judge in this project.") % {"strangers": strangers[0]}}
        )
    return [known[name] for name in dict.fromkeys(names)]


def chosen(
    project: Project,
    *,
    ids: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    priority: int | None = None,
) -> QuerySet[Task]:
    """The open tasks of the queue that a lead's filter means; a tuple in `metadata` stands for any of its values."""
    rows = project.tasks.open()
    if ids is not None:
        rows = rows.filter(external_id__in=ids)
    for number, (name, value) in enumerate((metadata or {}).items()):
        said = f"said_{number}"
        wanted = reduce(or_, (Q(**{said: one}) for one in (value if isinstance(value, tuple) else (value,))))
        rows = rows.annotate(**{said: KeyTransform(name, "metadata")}).filter(wanted)
    return rows if priority is None else rows.filter(priority=priority)


def not_open(project: Project, ids: list[str] | None) -> list[str]:
    """Those of `ids` that are no open task of the queue, in the order given."""
    asked = list(dict.fromkeys(ids or []))
    found = set(chosen(project, ids=asked).values_list("external_id", flat=True)) if asked else set()
    return [one for one in asked if one not in found]


def as_typed(text: str) -> tuple[Any, ...]:
    """What somebody may mean who types a value of metadata: the characters, or the number, true or false they spell."""
    try:
        value = strict_json(text)
    except CleaningError:
        return (text,)
    return (text, value) if isinstance(value, bool | int | float) else (text,)


def assign(
    project: Project, rows: QuerySet[Task], people: list[User], *, each: bool = False, limit: int | None = None
) -> Report:
    """Give the tasks to `people`: dealt out among them, or with `each` every task to every one of them.

    A free slot is taken for it; with `each` a task that has none left gets one more.
    """
    ids = list(rows.order_by("-priority", "rank", "pk").values_list("pk", flat=True)[:limit])
    dealt = cycle(people)
    wanted = [(task, person) for task in ids for person in (people if each else [next(dealt)])]
    assigned = full = had = 0
    for start in range(0, len(wanted), BATCH):
        with write_transaction():
            made, no_room, before = _seat(project, wanted[start : start + BATCH], more=each)
        assigned, full, had = assigned + made, full + no_room, had + before
    return Report(assigned, full, had)


def _seat(project: Project, wanted: list[tuple[int, User]], *, more: bool) -> tuple[int, int, int]:
    ids = sorted({task for task, _ in wanted})
    # Locked, so that nobody takes a slot or a first lease between the look and the writing.
    rows = {task.pk: task for task in Task.objects.select_for_update().filter(pk__in=ids).order_by("pk")}
    held = set(Assignment.objects.filter(task__in=ids).values_list("task", "annotator"))
    responses: dict[int, list[int]] = defaultdict(list)
    for task_id, response in Task.objects.filter(pk__in=ids).values_list("pk", "responses__pk"):
        if response is not None:
            responses[task_id].append(response)
    seats: list[Assignment] = []
    taken: dict[int, int] = defaultdict(int)
    added: dict[int, int] = defaultdict(int)
    full = had = 0
    for task_id, person in wanted:
        task = rows[task_id]
        if (task_id, person.pk) in held:
            had += 1
        elif task.open_slots <= taken[task_id] and not more:
            full += 1
        else:
            taken[task_id] += 1
            added[task_id] = max(taken[task_id] - task.open_slots, 0)
            seats.append(tasks.seat_for(task.project_id, task.pk, person.pk, responses[task_id]))
    Assignment.objects.bulk_create(seats)
    for pair in {(taken[task_id], added[task_id]) for task_id in taken}:
        alike = [task_id for task_id in taken if (taken[task_id], added[task_id]) == pair]
        change = {"need": F("need") + pair[1], "open_slots": F("open_slots") + pair[1] - pair[0]}
        Task.objects.filter(pk__in=alike).update(**change)
    return len(seats), full, had


def release(project: Project, user: User) -> int:
    """How many tasks that waited for this person are open to everybody now."""
    waiting = Assignment.objects.filter(project=project, annotator=user, state=ASSIGNED)
    released = 0
    for pk, task_id in list(waiting.values_list("pk", "task")):
        with write_transaction():
            seat = Assignment.objects.filter(pk=pk, state=ASSIGNED)
            if seat.update(state=Assignment.State.EXPIRED, reserved=False):  # with its draft, if it had been begun
                queue.give_slot_back(task_id)
                released += 1
    return released


def waiting(project: Project) -> list[tuple[User, int]]:
    """Who has how many assigned tasks that they have not begun, most first."""
    rows = Assignment.objects.filter(project=project, state=ASSIGNED).order_by().values_list("annotator")
    counts = dict(rows.annotate(n=Count("pk")))
    people = User.objects.in_bulk(counts)
    return sorted(((people[pk], n) for pk, n in counts.items()), key=lambda pair: (-pair[1], pair[0].username))
