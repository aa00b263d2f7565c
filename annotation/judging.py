"""Judgements coming in: submitted once, corrected by a new revision, taken back, or kept as a draft."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext

from annotation import at_once, bodies, freezing, gold, qualifying, queue, repeats
from annotation.bodies import BodyError
from annotation.cleaning import CleaningError, clean_json
from annotation.lookups import Insert, Lookup
from annotation.models import (
    Annotation,
    Assignment,
    Membership,
    Pool,
    Project,
    RepeatCheck,
    Task,
    User,
)
from annotation.models.tasks import AssignmentQuerySet
from annotation.queue import LeaseLost
from annotation.writes import changed, write_transaction

__all__ = ["BodyError", "CannotUndo", "KeyReused", "LeaseLost", "save_draft", "submit", "undo"]

LEASED, EXPIRED, SUBMITTED = Assignment.State.LEASED, Assignment.State.EXPIRED, Assignment.State.SUBMITTED
ASSIGNED, SET_ASIDE = Assignment.State.ASSIGNED, Assignment.State.SET_ASIDE
LONGEST_KEY = 80
LONGEST_DRAFT = 250_000  # characters in one text of a draft: a demonstration and its markup
MOST_SECONDS = 4 * 3600.0  # more than this on one task is a forgotten tab, not work
# Written in SQL because composing it takes the ORM longer than answering it the database, and every judgement asks it.
EXTRAS = (
    "earlier_id", "member_id", "member_role", "member_state", "member_recent", "guideline_id", "last_revision",
    "open_repeat", "answered_repeat",
)  # fmt: skip
SEAT = Lookup(
    {"seat": Assignment},
    """
SELECT {row}, earlier.id AS earlier_id, member.id AS member_id, member.role AS member_role,
    member.state AS member_state, member.gold_recent AS member_recent,
    (SELECT version.id FROM annotation_guidelineversion AS version WHERE version.project_id = seat.project_id
        AND NOT version.is_imported ORDER BY version.number DESC LIMIT 1) AS guideline_id,
    (SELECT MAX(mine.revision) FROM annotation_annotation AS mine
        WHERE mine.task_id = seat.task_id AND mine.annotator_id = seat.annotator_id) AS last_revision,
    (SELECT again.id FROM annotation_repeatcheck AS again WHERE again.task_id = seat.task_id
        AND again.annotator_id = seat.annotator_id AND again.state = 'open' LIMIT 1) AS open_repeat,
    (SELECT again.id FROM annotation_repeatcheck AS again
        WHERE again.annotator_id = seat.annotator_id AND again.idempotency_key = %(key)s) AS answered_repeat
FROM annotation_assignment AS seat
LEFT JOIN annotation_annotation AS earlier
    ON earlier.annotator_id = seat.annotator_id AND earlier.idempotency_key = %(key)s
LEFT JOIN annotation_membership AS member
    ON member.project_id = seat.project_id AND member.user_id = seat.annotator_id
WHERE seat.task_id = %(task)s AND seat.annotator_id = %(annotator)s
""",
)
GIVE_UP = """
UPDATE annotation_assignment SET state = 'submitted', draft = NULL, returned = ''
WHERE id = %(seat)s AND state = %(state)s
"""
STORE = Insert(Annotation)
COUNT = "UPDATE annotation_task SET done = done + 1 WHERE id = %(task)s"
ATTEMPTS = 5  # each repeats only because the same person's other request got further


class CannotUndo(Exception):
    """Only a person's own last judgement in a project can be taken back."""


class KeyReused(Exception):
    """The key came with another body before, whose answer stands."""


class _Again(Exception):
    """The assignment changed since it was read."""


def submit(
    task: Task,
    user: User,
    body: object,
    *,
    key: str | None = None,
    seconds: float | None = None,
    correction: bool = False,
) -> Annotation:
    """The stored judgement: a first one, a new revision of a standing one, or for a known `key` the one stored before;
    KeyReused when the key came with another body then.

    Frozen when it would revise one that a dataset was cut from.

    `body` speaks of the sides as shown. A lease that ran out is no obstacle while the task has a free slot; LeaseLost
    when it has none, or when the task was never handed to `user`; BodyError names each field that is wrong. While the
    task is being shown a second time the answer is kept as that, and the first one comes back unchanged, unless it is
    called a `correction`.
    """
    key = _checked_key(key)
    digest = _digest(body) if key else None
    once = {"idempotency_key": key, "key_digest": digest}
    for _ in range(ATTEMPTS):
        assignment = _assignment(task, user, key)
        if assignment is not None and assignment.earlier_id is not None:
            return _earlier(assignment.earlier_id, task, digest)
        if assignment is None or assignment.state == SET_ASIDE:
            raise LeaseLost(gettext("This task was not handed to you; ask for the next one."))
        if assignment.answered_repeat is not None:
            answered = RepeatCheck.objects.select_related("original").get(pk=assignment.answered_repeat)
            _refuse_another(answered.key_digest, digest)
            return answered.original
        if assignment.open_repeat is not None and assignment.state == SUBMITTED and not correction:
            check = RepeatCheck.objects.select_related("original").get(pk=assignment.open_repeat)
            again = bodies.check(task.project, body, shown_to(check, task))
            return repeats.answer(check, again, seconds=clip_seconds(seconds), **once)
        if task.pool == Pool.QUALIFICATION and assignment.state == SUBMITTED:
            raise LeaseLost(gettext("Answers of the qualification stand as they were given."))
        if assignment.state == SUBMITTED:
            _check_changeable(assignment)
        stored = bodies.check(task.project, body, shown_to(assignment, task))
        fields = {"body": stored, "seconds": clip_seconds(seconds), **once}
        gold.resolve(task)
        try:
            annotation = _store(assignment, task, user, fields)
        except (_Again, IntegrityError):
            if connection.needs_rollback:
                raise
            continue
        if annotation is None:
            raise LeaseLost(gettext("Your time on this task ran out and somebody else has judged it since."))
        return annotation
    raise RuntimeError(f"Judgement of task {task.pk} by {user} could not be stored.")


def shown_to(assignment: Assignment | RepeatCheck, task: Task) -> bodies.Shown:
    """What a judgement of `task` may speak of; the responses' texts are read only if it does."""
    return bodies.Shown(
        assignment.shown,
        lambda: task.texts,
        [place for place, message in enumerate(task.prompt) if message["role"] == "assistant"],
    )


def held(project: Project, task_id: int, user: User) -> Assignment | None:
    """The live lease of this task, or the repeat of it that waits for an answer, as its annotator sees it."""
    found = Assignment.objects.live().select_related("task").filter(task=task_id, annotator=user).first()
    if found is not None:
        found.project = found.task.project = project
        return found
    check = repeats.open_one(task_id, user)
    until = timezone.now() + timedelta(minutes=project.lease_minutes)
    return repeats.stand_in(check, project, user, until) if check else None


def undo(annotation: Annotation, user: User) -> Assignment:
    """The task leased again, with the judgement that is taken back as its draft; CannotUndo unless it is the last one.

    Taking the same one back twice changes nothing more.
    """
    if annotation.annotator_id != user.pk:
        raise CannotUndo(gettext("Only the person who judged can take a judgement back."))
    if annotation.task.pool == Pool.QUALIFICATION:
        raise CannotUndo(gettext("Answers of the qualification stand as they were given."))
    if check := repeats.take_back(annotation, user):
        until = timezone.now() + timedelta(minutes=annotation.project.lease_minutes)
        return repeats.stand_in(check, annotation.project, user, until)
    mine = Annotation.objects.filter(annotator=user, project=annotation.project_id)
    assignments = Assignment.objects.filter(task=annotation.task_id, annotator=user)
    if mine.standing().filter(pk=annotation.pk).exists():
        if mine.standing().filter(pk__gt=annotation.pk).exists():
            raise CannotUndo(
                gettext("Only your last judgement can be taken back; submit this task again to correct it.")
            )
        freezing.check(annotation)
        _take_back(annotation, assignments)
    held = assignments.select_related("task", "project", "annotator").first()
    if held is None or held.state != LEASED:
        raise CannotUndo(gettext("This judgement cannot be taken back any more."))
    held.task.project = held.project
    return held


def _take_back(annotation: Annotation, assignments: AssignmentQuerySet) -> None:
    until = timezone.now() + timedelta(minutes=annotation.project.lease_minutes)
    draft = bodies.as_shown(annotation.kind, annotation.body, annotation.shown)
    standing = Annotation.objects.standing().filter(pk=annotation.pk)
    with write_transaction():
        # The assignment's row first, as in a submit of the same task, so that the two never wait for each other.
        if assignments.filter(state=SUBMITTED).update(state=LEASED, lease_until=until, draft=draft):
            if not standing.update(status=Annotation.Status.UNDONE):
                raise CannotUndo(gettext("This judgement was just replaced by a later one."))
            Task.objects.filter(pk=annotation.task_id).update(done=F("done") - 1)
            repeats.drop([annotation])
            if annotation.task.is_gold:
                gold.forget(annotation.task, annotation.annotator)
    annotation.status = Annotation.Status.UNDONE


def save_draft(task: Task, user: User, draft: object) -> Assignment:
    """The assignment with `draft` kept and its lease renewed; the draft is kept even when LeaseLost is raised."""
    if draft is not None and not isinstance(draft, dict):
        raise BodyError({"draft": gettext("Must be an object or null.")})
    try:
        clean_json(draft, limit=LONGEST_DRAFT)
    except CleaningError as error:
        raise BodyError({error.field or "draft": error.message}) from None
    assignment = Assignment.objects.select_related("project").filter(task=task, annotator=user).first()
    if assignment is None:
        raise LeaseLost(gettext("This task was not handed to you; ask for the next one."))
    kept = Assignment.objects.filter(pk=assignment.pk, state__in=[LEASED, EXPIRED, ASSIGNED]).update(draft=draft)
    if not kept and repeats.keep_draft(task, user, draft):
        return queue.renew(assignment)
    if not kept:
        raise LeaseLost(gettext("You have judged or skipped this task already."))
    assignment.draft = draft
    return queue.renew(assignment)


def clip_seconds(seconds: float | None) -> float | None:
    """Active time within sane bounds; what no clock can have measured counts as unknown."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return min(float(seconds), MOST_SECONDS)


def _checked_key(key: str | None) -> str | None:
    if key is not None and (not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable()):
        raise BodyError(
            {
                "idempotency_key": gettext("Must be 1 to %(longest_key)s printable ASCII characters.")
                % {"longest_key": LONGEST_KEY}
            }
        )
    return key


def _assignment(task: Task, user: User, key: str | None) -> Any:
    """The person's assignment with all that a submit must know, in one statement.

    `earlier_id`: the annotation stored under this key before, on whatever task; `guideline_id`: the version shown
    now; `last_revision`: of this person on this task.
    """
    found = SEAT.first(task=task.pk, annotator=user.pk, key=key or "")
    if found is None:
        return None
    found[0].__dict__.update(zip(EXTRAS, found[1:], strict=True))
    return found[0]


def _check_changeable(assignment: Assignment) -> None:
    """Frozen when the judgement that this one would replace is part of a dataset."""
    mine = Annotation.objects.standing().filter(task=assignment.task_id, annotator=assignment.annotator_id)
    if (standing := mine.first()) is not None:
        freezing.check(standing)


def _digest(body: object) -> int:
    """64 bits that tell one body from another, whatever the order of its keys."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def _refuse_another(before: int | None, now: int | None) -> None:
    if before is not None and before != now:
        raise KeyReused(
            gettext("This key came with another answer before, which stands; make a new key for a new answer.")
        )


def _earlier(pk: int, task: Task, digest: int | None) -> Annotation:
    annotation = Annotation.objects.get(pk=pk)
    if annotation.task_id != task.pk:
        raise BodyError({"idempotency_key": gettext("Was used for another task before; make a new key.")})
    _refuse_another(annotation.key_digest, digest)
    return annotation


def _take_place(assignment: Assignment) -> bool:
    """Whether there is a place for this judgement: the one held, the one of the earlier revision, or a free slot."""
    late = assignment.state not in (LEASED, ASSIGNED, SUBMITTED)  # the slot went back, but may still be free
    if late and not queue.take_slot(assignment.task_id, done=F("done") + 1):
        return False
    if not changed(GIVE_UP, seat=assignment.pk, state=str(assignment.state)):
        raise _Again
    if assignment.state in (LEASED, ASSIGNED):
        changed(COUNT, task=assignment.task_id)
    elif assignment.state == SUBMITTED:
        earlier = Annotation.objects.standing().filter(task=assignment.task_id, annotator=assignment.annotator_id)
        earlier.update(status=Annotation.Status.REPLACED)
    return True


def _store(assignment: Any, task: Task, user: User, fields: dict[str, Any]) -> Annotation | None:
    """The stored judgement; None when there is no place for it."""
    annotation = _composed(assignment, task, user, fields)
    if at_once.is_possible() and assignment.state in (LEASED, ASSIGNED) and not gold.watches(task):
        if not at_once.store(annotation, seat=assignment.pk, state=str(assignment.state)):
            raise _Again
        return annotation
    with write_transaction():
        if not _take_place(assignment):
            return None
        STORE.save(annotation)
        if assignment.state != SUBMITTED and not assignment.returned and gold.watches(task):
            _keep_result(assignment, task, user, annotation)
    return annotation


def _composed(assignment: Any, task: Task, user: User, fields: dict[str, Any]) -> Annotation:
    return Annotation(
        project_id=task.project_id,
        task=task,
        annotator=user,
        kind=task.project.kind,
        revision=(assignment.last_revision or 0) + 1,
        shown=assignment.shown,
        guideline_id=assignment.guideline_id,
        **fields,
    )


def _keep_result(assignment: Any, task: Task, user: User, annotation: Annotation) -> None:
    """What this first answer to a task tells about its annotator."""
    member = None
    if assignment.member_id is not None:
        member = Membership(
            pk=assignment.member_id,
            role=assignment.member_role,
            state=assignment.member_state,
            gold_recent=assignment.member_recent,
        )
    right = gold.correct(task, annotation.body)
    if not gold.record(task, user, member, right):
        raise _Again
    if member is not None and task.pool == Pool.QUALIFICATION:
        qualifying.count(task.project, member, bool(right))
